"""From unit costs and a load to machines: pure arithmetic, every figure with its formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

from benchmarks.sizing.units import Units

DAY = 86_400.0
ETCD_LIMIT = 1.5 * 2**20
"""Bytes of one object that etcd accepts by default (--max-request-bytes)."""
PODS_PER_NODE = 110
"""Kubernetes' own limit of a node (kubernetes.io, Considerations for large clusters)."""
SENSOR_S = 60.0
"""Seconds of one evaluation of a schedule or a sensor before Dagster gives it up."""


@dataclass(frozen=True)
class Load:
    """
    Attributes:
        retrained: share of the partitions whose data or contract change in a week.
        open: share of the partitions with an open rollout; half of them mirror every request.
        peak: requests of the busiest second over the mean.
        use: of a core that may be planned with.
        window_h: in which a week's retraining shall be over.
        replicas: pods of each model.
        log_days: for which the prediction log stays in PostgreSQL.
        bookkeeping: what Kubernetes adds to a route's bytes (field ownership, twice: held and applied).
    """

    partitions: int = 10_000
    predictions_per_day: float = 100e6
    retrained: float = 0.10
    open: float = 0.05
    peak: float = 3.0
    use: float = 0.6
    window_h: float = 8.0
    replicas: int = 2
    log_days: float = 90.0
    bookkeeping: float = 1.5


@dataclass(frozen=True)
class Figure:
    group: str
    what: str
    value: float
    unit: str
    how: str


def plan(units: Units, load: Load) -> list[Figure]:
    mean = load.predictions_per_day / DAY
    peak = mean * load.peak
    rows = mean * (1.0 + load.open / 2)
    runs = load.partitions * load.retrained
    at_once = runs * units.run_wall_s / (3600 * load.window_h)
    models = load.partitions * (1.0 + load.open)
    pods = models * load.replicas
    cells_by_route = load.partitions * units.route_bytes * load.bookkeeping / ETCD_LIMIT
    commits = max(units.commits_per_s, units.commits_per_s_8)
    cells_by_commit = peak * (1.0 + load.open / 2) / (commits * load.use)
    cells_by_check = load.partitions * units.check_cpu_s / (SENSOR_S * load.use)
    cells = math.ceil(max(cells_by_route, cells_by_commit))
    open_rollouts = load.partitions * load.open
    return [
        Figure("training", "runs a week", runs, "", "partitions x retrained"),
        Figure("training", "CPU, pod per partition", runs * units.run_cpu_s / 3600, "core h/week", "runs x cold run"),
        Figure("training", "CPU, warm workers", runs * units.warm_cpu_s / 3600, "core h/week", "runs x warm run"),
        Figure("training", "pods at once", at_once, "", "runs x wall / window"),
        Figure(
            "training", "memory of those pods",
            math.ceil(at_once) * units.run_mib * 1.3 / 1024, "GiB", "pods x peak x 1.3",
        ),
        Figure(
            "training", "everything anew", load.partitions * units.run_cpu_s / 3600, "core h", "partitions x cold run"
        ),
        Figure("serving", "answers a second, mean", mean, "1/s", "predictions / day"),
        Figure("serving", "answers a second, peak", peak, "1/s", "mean x peak"),
        Figure("serving", "cores", peak * (1 + load.open / 2) * units.answer_cpu_s / load.use, "", "peak x CPU / use"),
        Figure("serving", "pods", pods, "", "partitions x (1 + open) x replicas"),
        Figure("serving", "memory", pods * units.server_mib / 1024, "GiB", "pods x resident"),
        Figure("serving", "nodes by pods", pods / PODS_PER_NODE, "", f"pods / {PODS_PER_NODE}"),
        Figure("serving", "answers a pod and second", peak / pods, "1/s", "peak / pods"),
        Figure("ledger", "rows a day", rows * DAY / 1e6, "million", "predictions x (1 + open / 2)"),
        Figure("ledger", "PostgreSQL, a day", rows * DAY * units.log_bytes / 2**30, "GiB", "rows x bytes"),
        Figure(
            "ledger", "PostgreSQL, kept", rows * DAY * units.log_bytes * load.log_days / 2**40, "TiB",
            "a day x log_days",
        ),
        Figure("ledger", "commits a second, peak", peak * (1 + load.open / 2), "1/s", "a commit each: pods are idle"),
        Figure("ledger", "commits a second, one ledger", commits, "1/s", "measured, rows in one order"),
        Figure("control", "open rollouts", open_rollouts, "", "partitions x open"),
        Figure("control", "CPU of a round of ticks", open_rollouts * units.tick_s, "s", "rollouts x tick"),
        Figure(
            "control", "CPU of the evidence", mean * 2 * load.open * units.fold_s, "cores", "rows of rollouts x fold"
        ),
        Figure("control", "reading the catalogue", load.partitions * units.catalogue_s, "CPU s", "files x read"),
        Figure(
            "control", "is anything stale?", load.partitions * units.check_cpu_s, "CPU s", "partitions x check"
        ),
        Figure("storage", "objects", load.partitions * units.stored_mib / 1024, "GiB", "partitions x one run"),
        Figure(
            "storage", "objects a year", 52 * runs * units.stored_mib / 1024, "GiB", "runs x 52 x one run"
        ),
        Figure("storage", "Dagster, a year", 52 * runs * units.dagster_kib / 2**20, "GiB", "runs x 52 x rows"),
        Figure("storage", "Dagster rows a year", 52 * runs * units.dagster_rows / 1e6, "million", "runs x 52 x rows"),
        Figure("cells", "by size of a route object", cells_by_route, "", "partitions x bytes x bookkeeping / 1.5 MiB"),
        Figure("cells", "by commits of a ledger", cells_by_commit, "", "peak / (commits x use)"),
        Figure("cells", "schedules, by one check's minute", cells_by_check, "", "stale check / (60 s x use)"),
        Figure("cells", "cells", cells, "", "the largest of the first two, rounded up"),
        Figure("cells", "partitions a cell", load.partitions / cells, "", "partitions / cells"),
    ]  # fmt: skip


def value(figures: list[Figure], group: str, what: str) -> float:
    return next(one.value for one in figures if (one.group, one.what) == (group, what))
