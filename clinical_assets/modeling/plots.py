"""Figures that people look at before they sign: PNG bytes, drawn without a display.

A title that carries the stamp of simulated data is also written across the figure, and into the PNG file itself.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clinical_assets.modeling import curves
from clinical_assets.modeling.metrics.calibration import calibration_at_horizon
from clinical_assets.modeling.metrics.smooth import overall_risk
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.data_status import STAMP

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_YEAR = 365.25
_GROUPS = 5


@dataclass(frozen=True)
class ForestRow:
    """One subgroup: estimate with interval, and how many subjects and events it rests on."""

    label: str
    estimate: float
    low: float
    high: float
    n: int
    events: int


def kaplan_meier(outcomes: Outcomes | Mapping[str, Outcomes], title: str, horizon: float | None = None) -> bytes:
    """Survival curve of a cohort, or of named groups; the horizon is marked."""
    figure, axes = _canvas(title)
    groups = outcomes if isinstance(outcomes, Mapping) else {"all": outcomes}
    for label, group in groups.items():
        curve = curves.kaplan_meier(group.times(), group.flag)
        years = np.concatenate(([0.0], curve.times)) / _YEAR
        survival = np.concatenate(([1.0], curve.values))
        axes.step(years, survival, where="post", label=f"{label} (n {group.n}, events {group.events})")
    if horizon is not None:
        axes.axvline(horizon / _YEAR, color="grey", linestyle=":", label="horizon")
    axes.set(xlabel="years since index date", ylabel="event-free probability", ylim=(0.0, 1.02))
    axes.legend(loc="lower left", fontsize=8)
    return _png(figure)


def calibration(outcomes: Outcomes, risk: np.ndarray, horizon: float | None, title: str = "Calibration") -> bytes:
    """Smoothed observed against predicted risk, with observed risk in fifths of predicted risk."""
    figure, axes = _canvas(title)
    measured = calibration_at_horizon(outcomes, risk, horizon)
    order = np.argsort(risk, kind="stable")
    axes.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="ideal")
    axes.plot(risk[order], measured.smoothed[order], label=f"smoothed (ICI {measured.ici:.3f}, O/E {measured.oe:.2f})")
    fifths = [part for part in np.array_split(order, _GROUPS) if len(part)]
    predicted = [risk[part].mean() for part in fifths]
    observed = [overall_risk(outcomes.take(part), horizon) for part in fifths]
    axes.plot(predicted, observed, "o", label="fifths of predicted risk")
    axes.set(xlabel="predicted risk", ylabel="observed risk", xlim=(0, 1), ylim=(0, 1))
    axes.legend(loc="upper left", fontsize=8)
    return _png(figure)


def split_over_time(train: pd.Series, test: pd.Series, title: str) -> bytes:
    """How many training and test subjects entered when, from their index dates; a fair split shows equal shapes."""
    figure, axes = _canvas(title)
    years = [group.dt.year + (group.dt.dayofyear - 1) / _YEAR for group in (train, test)]
    both = np.concatenate(years)
    edges = np.arange(np.floor(both.min()), np.floor(both.max()) + 2)
    axes.hist(years, bins=edges, stacked=True, label=[f"train (n {len(train)})", f"test (n {len(test)})"])
    axes.set(xlabel="year of the index date", ylabel="subjects")
    axes.legend(fontsize=8)
    return _png(figure)


def subgroup_forest(rows: Sequence[ForestRow], title: str, metric: str, overall: float | None = None) -> bytes:
    """One line per subgroup with its interval; `overall` is drawn as a reference."""
    figure, axes = _canvas(title, height=1.2 + 0.35 * len(rows))
    positions = np.arange(len(rows))[::-1]
    for position, row in zip(positions, rows, strict=True):
        axes.plot([row.low, row.high], [position, position], color="C0")
        axes.plot(row.estimate, position, "s", color="C0", markersize=4 + min(row.events, 200) / 40)
    axes.set_yticks(positions, [f"{row.label} (n {row.n}, events {row.events})" for row in rows], fontsize=8)
    if overall is not None:
        axes.axvline(overall, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel=metric)
    return _png(figure)


def traffic_over_time(points: Sequence[Mapping[str, Any]], title: str) -> bytes:
    """Share of requests planned and observed for the challenger.

    Args:
        points: mappings with `time` (days on the clinical clock), `planned` and `observed` shares (None: not measured),
            and optionally `stage`, written where it changes.
    """
    figure, axes = _canvas(title)
    times = [float(point["time"]) for point in points]
    axes.step(times, [100.0 * point["planned"] for point in points], where="post", label="planned")
    measured = [(time, 100.0 * point["observed"]) for time, point in zip(times, points, strict=True)
                if point.get("observed") is not None]  # fmt: skip
    if measured:
        axes.plot(*zip(*measured, strict=True), "o", markersize=3, label="observed")
    stage = None
    for time, point in zip(times, points, strict=True):
        if point.get("stage") not in (None, stage):
            stage = point["stage"]
            axes.annotate(str(stage), (time, 100.0 * point["planned"]), fontsize=7, rotation=30)
    axes.set(xlabel="days on the clinical clock", ylabel="challenger's share of requests, %", ylim=(-3, 106))
    axes.legend(loc="upper left", fontsize=8)
    return _png(figure)


def evidence_over_patients(
    patients: Sequence[int], tests: Mapping[str, Sequence[float]], limits: Mapping[str, float], title: str
) -> bytes:
    """E-values over patients with outcome, each test with its limit (dotted, same colour).

    Args:
        tests: log E by test, one value for each of `patients`.
        limits: E at which the test decides.
    """
    figure, axes = _canvas(title)
    for name, logs in tests.items():
        (line,) = axes.plot(patients, [value / math.log(10) for value in logs], label=name, linewidth=1)
        if name in limits:
            axes.axhline(math.log10(limits[name]), color=line.get_color(), linestyle=":", linewidth=1)
    axes.set(xlabel="patients with outcome", ylabel="evidence, log10 E")
    axes.legend(loc="upper left", fontsize=7)
    return _png(figure)


def difference_over_patients(
    patients: Sequence[int], sequence: Sequence[Sequence[float | None]], margin: float, title: str
) -> bytes:
    """Mean difference of the prediction error with its 95 % confidence sequence, against zero and the margin.

    Args:
        sequence: mean, lower and upper limit for each of `patients`; a limit beyond the grid is None and not drawn.
    """
    figure, axes = _canvas(title)
    shown = [[math.nan if value is None else value for value in row] for row in sequence]
    axes.plot(patients, [mean for mean, _, _ in shown], label="mean difference")
    for place, name in ((1, "lower limit"), (2, "upper limit")):
        axes.plot(patients, [row[place] for row in shown], "--", linewidth=1, label=name)
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.axhline(margin, color="red", linestyle=":", label="margin")
    axes.set(xlabel="patients with outcome", ylabel="challenger - champion")
    axes.legend(loc="upper right", fontsize=7)
    return _png(figure)


def _canvas(title: str, height: float = 4.0) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    if STAMP in title:
        middle = {"x": 0.5, "y": 0.5, "ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(s=STAMP, fontsize=34, rotation=20, color="red", alpha=0.18, **middle)
    return figure, axes


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    title = figure.axes[0].get_title()
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None, "Title": title})
    return buffer.getvalue()
