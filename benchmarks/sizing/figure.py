"""One picture: what grows with the number of cancer types, and where one cell ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib

from benchmarks.sizing.plan import Load, plan, value
from benchmarks.sizing.units import Units

SIZES = (50, 100, 200, 500, 1000, 2000, 5000, 10_000)
PANELS = (
    ("cores", "CPU at the peak", [("serving", "cores", "model servers"), ("training", "pods at once", "retraining")]),
    ("GiB", "memory", [("serving", "memory", "model servers"), ("training", "memory of those pods", "retraining")]),
    (
        "number",
        "cells",
        [("cells", "by size of a route object", "routes"), ("cells", "by commits of a ledger", "ledger")],
    ),
)


def draw(units: Units, load: Load, path: Path) -> None:
    """An SVG over numbers of partitions, with the load's predictions for each; equal input, equal file."""
    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    matplotlib.rcParams["svg.hashsalt"] = "sizing"
    each = load.predictions_per_day / load.partitions
    plans = [plan(units, replace(load, partitions=n, predictions_per_day=n * each)) for n in SIZES]
    figure, axes = plt.subplots(1, len(PANELS), figsize=(12, 3.4))
    for axis, (unit, title, lines) in zip(axes, PANELS, strict=True):
        for group, what, label in lines:
            axis.loglog(SIZES, [value(one, group, what) for one in plans], marker="o", markersize=3, label=label)
        axis.set(title=title, ylabel=unit, xlabel=f"cancer types, {each:,.0f} predictions a day each")
        axis.legend(frameon=False, fontsize=8)
    axes[-1].axhline(1.0, color="grey", linewidth=0.8, linestyle="--")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
