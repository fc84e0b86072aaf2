"""The arithmetic of sizing, against figures reckoned by hand."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from benchmarks.sizing.plan import Load, plan, value
from benchmarks.sizing.units import Units

ONES = Units(**{one.name: 1.0 for one in fields(Units)})
LOAD = Load(partitions=1000, predictions_per_day=86_400_000, retrained=0.1, open=0.1, peak=3.0, use=0.5)


def test_serving_follows_the_peak_and_pods_follow_the_models() -> None:
    figures = plan(replace(ONES, answer_cpu_s=0.002, server_mib=512), LOAD)
    assert value(figures, "serving", "answers a second, peak") == pytest.approx(3000)
    assert value(figures, "serving", "cores") == pytest.approx(3000 * 1.05 * 0.002 / 0.5)
    assert value(figures, "serving", "pods") == pytest.approx(1000 * 1.1 * 2)
    assert value(figures, "serving", "memory") == pytest.approx(2200 / 2)


def test_a_week_of_training_and_a_day_of_the_log() -> None:
    figures = plan(replace(ONES, run_cpu_s=36, log_bytes=1024), LOAD)
    assert value(figures, "training", "CPU, pod per partition") == pytest.approx(1.0)
    assert value(figures, "ledger", "rows a day") == pytest.approx(86.4 * 1.05)
    assert value(figures, "ledger", "PostgreSQL, a day") == pytest.approx(86.4e6 * 1.05 / 2**20)


def test_cells_are_as_many_as_the_narrowest_part_needs() -> None:
    by_route = plan(replace(ONES, route_bytes=2**20, commits_per_s=1e9), replace(LOAD, bookkeeping=1.5))
    assert value(by_route, "cells", "cells") == 1000
    by_commit = plan(replace(ONES, commits_per_s=630.0), LOAD)
    assert value(by_commit, "cells", "cells") == 10
    assert value(by_commit, "cells", "partitions a cell") == 100
