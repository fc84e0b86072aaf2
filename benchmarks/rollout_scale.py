"""What the rollout's bookkeeping costs: idle ticks over many rollouts, folding the log into evidence, writing the log.

nice python -m benchmarks.rollout_scale --out benchmarks/results                 SQLite; about a minute
nice python -m benchmarks.rollout_scale --url postgresql+psycopg2://... --parts ingest

The data plane is a double in memory, so that the figures are the controller's own. `cpu` is processor time: on a
machine with other work the wall times are longer.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

import clinical_assets.rollout.tick  # noqa: F401  declares the evidence tables
from clinical_assets.foundation.clock import SystemClock
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.foundation.files import write_atomic
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.entries import Arm, Prediction, Rollout
from clinical_assets.rollout.evidence_log import EvidenceLog, Look
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.opening import open_rollout
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.rollout.rest import Rests, Surroundings
from clinical_assets.rollout.routing import AppliedRoute, RouteState, ServiceCounts
from clinical_assets.rollout.tables import outcomes, predictions
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

    def marks(self, cancers: Sequence[str]) -> dict[str, object]:
        return dict.fromkeys(cancers, "")

    def stands_until(self, rollout: Rollout, now: float) -> float:
        return math.inf


def plan(cancer: str) -> RolloutPlan:
    return RolloutPlan(
        cancer=cancer, champion=CHAMPION, challenger=CHALLENGER, champion_brier=0.08, policy=RolloutPolicy()
    )


def ledger_at(url: str) -> Ledger:
    engine = engine_for(url)
    create_tables(engine)
    return Ledger(engine)


def idle_ticks(url: str, n: int) -> dict[str, Any]:
    """`n` rollouts in shadow that have nothing new: ticking each of them, and one look that lets all of them rest."""
    ledger, plane, clock = ledger_at(url), Plane(), SystemClock()
    names = [open_rollout(ledger, plan(f"c{i}"), "trainer", clock.now()).id for i in range(n)]
    for name in track(names, f"{n} rollouts begin"):
        for _ in range(2):  # opening, then the first counters
            tick(name, ledger, plane, plane, plane, clock, "benchmark")
    rests = Rests()
    around = Surroundings(ledger, plane, plane, plane, {}, clock.now())

    def evaluation() -> tuple[int, float, float]:
        started, used = time.perf_counter(), time.process_time()
        standings = ledger.standings(active=True)
        seen = rests.look(around, standings)
        due = [progress for progress in standings if progress.rollout.id in seen.due]
        for progress in due:
            result = tick(progress.rollout.id, ledger, plane, plane, plane, clock, "benchmark")
            rests.settle(around, seen, progress, result)
        return len(due), time.perf_counter() - started, time.process_time() - used

    ticked, full, full_cpu = evaluation()
    assert ticked == n
    ticked, seconds, cpu = min((evaluation() for _ in range(3)), key=lambda found: found[1])
    assert not ticked
    every = {"all_ticked_seconds": full, "all_ticked_cpu": full_cpu}
    return {"rollouts": n, "at_rest_seconds": seconds, "at_rest_cpu": cpu, **every}


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
    started, used = time.perf_counter(), time.process_time()
    for start in track(range(0, len(rows), GROUP), "rows"):
        ledger.record_predictions(rows[start : start + GROUP])
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    rate = {"rows_per_second": len(rows) / seconds, "client_cpu_seconds": cpu}
    return {"database": ledger.engine.dialect.name, "rows": len(rows), **rate}


def write_unchained(ledger: Ledger, rollout_id: str, size: int, first: int, at: float) -> None:
    """`size` mirrored patients and their outcomes, without the hashes of the chain: folding does not read them."""
    scored = mirrored(size, rollout_id, at, first)
    died = np.random.default_rng(first).uniform(size=size) < 0.1
    begin = 3 * first
    chain = {"previous": "", "entry_hash": "", "recorded_at": at}
    names = [column.name for column in predictions.columns if column.name not in {"seq", *chain}]
    rows = [
        {name: getattr(entry, name) for name in names} | chain | {"seq": begin + i}
        for i, entry in enumerate(scored, start=1)
    ]
    told = [
        {"seq": begin + 2 * size + i, "request_id": f"q{first + i - 1}", "cancer": "c0", "observed_at": at, **chain}
        | {"time": None, "event": None, "label": int(died[i - 1])}
        for i in range(1, size + 1)
    ]
    with ledger.engine.begin() as connection:
        connection.execute(predictions.insert(), rows)
        connection.execute(outcomes.insert(), told)


def fold(url: str, n: int) -> dict[str, Any]:
    """`n` logged predictions, with the outcome of every patient, into evidence in one step."""
    ledger, clock = ledger_at(url), SystemClock()
    opened = open_rollout(ledger, plan("c0"), "trainer", clock.now())
    for first in track(range(0, n // 2, 5000), f"{n} predictions written"):
        write_unchained(ledger, opened.id, min(5000, n // 2 - first), first, clock.now())
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
    parser.add_argument("--predictions", default="100000,1000000", help="sizes of `fold`")
    arguments = parser.parse_args()
    path = arguments.out / "rollout_scale.json"
    figures = json.loads(path.read_text()) if path.exists() else {}
    figures["machine"] = {
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.0f}",
    }
    with tempfile.TemporaryDirectory() as scratch:

        def fresh(name: str) -> str:
            return f"sqlite:///{scratch}/{name}.db"

        def keep(part: str, row: dict[str, Any]) -> None:
            """Each figure is on disk as soon as it is known, in the place of an older one of the same size."""
            name = next(iter(row))
            older = [old for old in figures.get(part, []) if old.get(name) != row[name]]
            rows = sorted([*older, row], key=lambda one: one[name])
            figures[part] = [one for one in rows if one.keys() == row.keys()]
            write_atomic(path, json.dumps(figures, indent=2).encode())
            print(part, json.dumps(row), flush=True)

        for part in arguments.parts.split(","):
            if part == "ticks":
                for n in arguments.rollouts.split(","):
                    keep(part, idle_ticks(fresh(f"ticks{n}"), int(n)))
            elif part == "fold":
                for n in arguments.predictions.split(","):
                    keep(part, fold(fresh(f"fold{n}"), int(n)))
            elif part == "ingest":
                keep(part, ingest(arguments.url or fresh("ingest"), arguments.rows))
    write_atomic(path.with_suffix(".md"), as_table(figures).encode())


def as_table(figures: dict[str, Any]) -> str:
    machine = figures["machine"]
    shared = "Under load of other work wall times and rates are what was left; `cpu` is the work itself."
    lines = [f"Rollout bookkeeping, {machine['cores']} cores, load average {machine['load']}. {shared}", ""]
    for part in ("ticks", "ingest", "fold"):
        rows = figures.get(part, [])
        if rows:
            lines += [f"## {part}", "", f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
            cells = ([f"{v:,.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows)
            lines += [*(f"| {' | '.join(row)} |" for row in cells), ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
