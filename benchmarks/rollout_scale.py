"""What the rollout's bookkeeping costs: idle ticks over many rollouts, folding the log into evidence, writing the log.

nice python -m benchmarks.rollout_scale --out benchmarks/results                 SQLite; about a minute
nice python -m benchmarks.rollout_scale --url postgresql+psycopg2://... --parts ingest

The data plane is a double in memory, so that the figures are the controller's own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import clinical_assets.rollout.tick  # noqa: F401  declares the evidence tables
from clinical_assets.foundation.clock import SystemClock
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.foundation.files import write_atomic
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.entries import Arm, Outcome, Prediction, Rollout
from clinical_assets.rollout.evidence_log import EvidenceLog, Look
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.opening import open_rollout
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.rollout.routing import AppliedRoute, RouteState, ServiceCounts
from clinical_assets.rollout.tick import tick

CHAMPION, CHALLENGER = "a" * 64, "b" * 64
GROUP = 512
"""Rows of one commit, as the model server groups them under load."""


class Plane:
    """Router, telemetry and authority of a data plane at rest: every write is served at once, no counter moves."""

    recreate = False

    def __init__(self) -> None:
        self.routes: dict[str, RouteState] = {}

    def last_writer(self, cancer: str) -> str:
        return ""

    def read(self, cancer: str) -> RouteState | None:
        return self.routes.get(cancer, RouteState(cancer, "", CHAMPION))

    def apply(self, route: RouteState, now: float, still_ours: Callable[[], object] = lambda: None) -> AppliedRoute:
        still_ours()
        self.routes[route.cancer] = replace(route)
        return AppliedRoute(1, now)

    def confirm(self, cancer: str, version: int, timeout: float) -> bool:
        return True

    def counts(self, cancer: str) -> dict[str, ServiceCounts]:
        return {CHAMPION: ServiceCounts(1000, 1), CHALLENGER: ServiceCounts(1000, 1)}

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> None:
        return None

    def approver(self, rollout: Rollout, now: float) -> str:
        return ""


def plan(cancer: str) -> RolloutPlan:
    return RolloutPlan(
        cancer=cancer, champion=CHAMPION, challenger=CHALLENGER, champion_brier=0.08, policy=RolloutPolicy()
    )


def ledger_at(url: str) -> Ledger:
    engine = engine_for(url)
    create_tables(engine)
    return Ledger(engine)


def idle_ticks(url: str, n: int) -> dict[str, Any]:
    """One tick of each of `n` rollouts in shadow that have nothing new."""
    ledger, plane, clock = ledger_at(url), Plane(), SystemClock()
    names = [open_rollout(ledger, plan(f"c{i}"), "trainer", clock.now()).id for i in range(n)]
    for _ in range(2):  # opening, then the first counters
        for name in names:
            tick(name, ledger, plane, plane, plane, clock, "benchmark")
    started = time.perf_counter()
    for progress in ledger.standings(active=True):
        tick(progress.rollout.id, ledger, plane, plane, plane, clock, "benchmark")
    seconds = time.perf_counter() - started
    return {"rollouts": n, "seconds": seconds, "ms_per_rollout": 1000 * seconds / n}


def mirrored(n: int, rollout_id: str, at: float, first: int = 0) -> list[Prediction]:
    """Both models' scores of `n` patients in shadow: 2 n rows."""
    risks = np.random.default_rng(first).beta(1, 9, size=(n, 2))
    rows = []
    for i, (a, b) in enumerate(risks.tolist(), start=first):
        who = ("c0", rollout_id, f"{i:064x}")
        rows.append(Prediction(f"q{i}", CHAMPION, *who, Arm.CHAMPION, 0.0, a, at))
        rows.append(Prediction(f"q{i}", CHALLENGER, *who, Arm.SHADOW, 0.0, b, at))
    return rows


def ingest(url: str, n: int) -> dict[str, Any]:
    """Rows per second into the hash-chained log, `GROUP` in a commit."""
    ledger = ledger_at(url)
    rows = mirrored(n // 2, "c0-0001", 1e9)
    started = time.perf_counter()
    for start in range(0, len(rows), GROUP):
        ledger.record_predictions(rows[start : start + GROUP])
    seconds = time.perf_counter() - started
    return {"database": ledger.engine.dialect.name, "rows": len(rows), "rows_per_second": len(rows) / seconds}


def fold(url: str, n: int) -> dict[str, Any]:
    """`n` logged predictions, with the outcome of every patient, into evidence in one step."""
    ledger, clock = ledger_at(url), SystemClock()
    opened = open_rollout(ledger, plan("c0"), "trainer", clock.now())
    for first in range(0, n // 2, 5000):
        size = min(5000, n // 2 - first)
        ledger.record_predictions(mirrored(size, opened.id, clock.now(), first))
        died = np.random.default_rng(first).uniform(size=size) < 0.1
        posted = [Outcome(f"q{first + i}", "c0", clock.now(), label=int(died[i])) for i in range(size)]
        ledger.record_outcomes(posted)
    started, used = time.perf_counter(), time.process_time()
    look = Look(clock.now(), time.time(), "shadow", None)
    moved = EvidenceLog(ledger.engine).step(opened.id, plan("c0"), look, None)
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    assert moved.paired.n == n // 2
    return {"predictions": n, "pairs": moved.paired.n, "seconds": seconds, "cpu_seconds": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--url", default="", help="an empty database for `ingest`; default a SQLite file")
    parser.add_argument("--parts", default="ticks,ingest,fold")
    parser.add_argument("--rollouts", default="10,100,1000")
    parser.add_argument("--rows", type=int, default=50_000, help="rows of `ingest`")
    parser.add_argument("--predictions", default="100000", help="sizes of `fold`; 1000000 takes some minutes to write")
    arguments = parser.parse_args()
    path = arguments.out / "rollout_scale.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    figures["machine"] = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    with tempfile.TemporaryDirectory() as scratch:

        def fresh(name: str) -> str:
            return f"sqlite:///{scratch}/{name}.db"

        for part in arguments.parts.split(","):
            if part == "ticks":
                figures[part] = [idle_ticks(fresh(f"ticks{n}"), int(n)) for n in arguments.rollouts.split(",")]
            elif part == "fold":
                figures[part] = [fold(fresh(f"fold{n}"), int(n)) for n in arguments.predictions.split(",")]
            elif part == "ingest":
                row = ingest(arguments.url or fresh("ingest"), arguments.rows)
                kept = [old for old in figures.get(part, []) if old["database"] != row["database"]]
                figures[part] = [*kept, row]
            write_atomic(path, json.dumps(figures, indent=2).encode())
            print(part, json.dumps(figures[part]), flush=True)
    write_atomic(path.with_suffix(".md"), as_table(figures).encode())


def as_table(figures: dict[str, Any]) -> str:
    lines = [f"Rollout bookkeeping, {figures['machine']['cores']} cores, shared with other work while measured.", ""]
    for part in ("ticks", "ingest", "fold"):
        rows = figures.get(part, [])
        if rows:
            lines += [f"## {part}", "", f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
            cells = ([f"{v:,.2f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)
            lines += [*(f"| {' | '.join(row)} |" for row in cells), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
