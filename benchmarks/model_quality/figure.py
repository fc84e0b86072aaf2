"""One picture: for every cohort the platform's difference to each peer, with its interval."""

from __future__ import annotations

from pathlib import Path

import matplotlib
from matplotlib.axes import Axes

from benchmarks.model_quality.comparison import LEVEL, Contest, Standing, Summary
from benchmarks.model_quality.procedures import TITLES

_BETTER, _WORSE, _EVEN = "#1b7837", "#b2182b", "#8c8c8c"


def forest_plot(summary: Summary, path: Path) -> None:
    """Write an SVG with one panel per peer and one line per cohort, largest cohort on top; equal input, equal file."""
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "model_quality"
    matplotlib.rcParams["font.size"] = 8
    order = sorted(summary.standings, key=lambda standing: standing.cohort["events_by_horizon"])
    height = 1.6 + 0.19 * len(order)
    figure, axes = plt.subplots(1, len(summary.contests), sharey=True, figsize=(15, height), squeeze=False)
    for panel, contest in zip(axes[0], summary.contests, strict=True):
        _panel(panel, contest, order)
    axes[0][0].set_yticks(range(len(order)), [_label(standing) for standing in order])
    axes[0][0].set_ylim(-0.7, len(order) - 0.3)
    figure.suptitle("Difference in Uno's C or AUROC, platform less peer, 95 % interval; band: mean over cohorts", y=1.0)
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)


def _panel(panel: Axes, contest: Contest, order: list[Standing]) -> None:
    panel.axvspan(contest.mean.low, contest.mean.high, color="#c6dbef", zorder=0)
    panel.axvline(0.0, color="black", linewidth=0.8)
    for height, standing in enumerate(order):
        difference = contest.differences.get(standing.slug)
        if difference is None:
            continue
        colour = _EVEN if difference.p_value >= LEVEL else _BETTER if difference.mean > 0 else _WORSE
        panel.plot([difference.low, difference.high], [height, height], color=colour, linewidth=1.2)
        panel.plot(difference.mean, height, "s", color=colour, markersize=3)
    panel.set_xlim(-0.25, 0.25)
    panel.set_title(f"against {TITLES[contest.second]}")
    panel.grid(axis="x", linewidth=0.3)


def _label(standing: Standing) -> str:
    return f"{standing.slug} ({standing.cohort['events_by_horizon']}/{standing.cohort['subjects']})"
