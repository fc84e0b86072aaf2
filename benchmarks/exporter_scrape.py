"""What a scrape of the exporter costs over many open rollouts: the first, which reads all, and those that follow.

nice python -m benchmarks.exporter_scrape --rollouts 10,100,1000     about two minutes
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

import clinical_assets.audit.records  # noqa: F401  declares its tables
from benchmarks.rollout_scale import Plane, ledger_at, plan
from clinical_assets.foundation.clock import SystemClock
from clinical_assets.foundation.files import write_atomic
from clinical_assets.foundation.home import Home
from clinical_assets.monitoring.collector import PlatformCollector
from clinical_assets.monitoring.surroundings import DagsterSeen
from clinical_assets.rollout.opening import open_rollout
from clinical_assets.rollout.tick import tick


class AtRest:
    """Routes of all cancer types as the double of the data plane serves them."""

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    def read(self) -> dict[str, Any]:
        return dict(self.plane.routes)


def scrapes(directory: Path, n: int) -> dict[str, Any]:
    """Seconds and size of scrapes over `n` rollouts in shadow."""
    url = f"sqlite:///{directory / 'ledger.db'}"
    ledger, plane, clock = ledger_at(url), Plane(), SystemClock()
    names = [open_rollout(ledger, plan(f"c{i}"), "trainer", clock.now()).id for i in range(n)]

    def tick_all() -> None:
        for name in names:
            tick(name, ledger, plane, plane, plane, clock, "benchmark")

    tick_all()
    tick_all()
    registry = CollectorRegistry()
    registry.register(PlatformCollector(Home(directory), url, AtRest(plane), DagsterSeen))
    seconds, cpu, text = [], [], b""
    for _ in range(4):
        started, used = time.perf_counter(), time.process_time()
        text = generate_latest(registry)
        seconds.append(time.perf_counter() - started)
        cpu.append(time.process_time() - used)
    lines = sum(not line.startswith(b"#") for line in text.splitlines())
    costs = {"first_s": seconds[0], "first_cpu_s": cpu[0], "idle_s": min(seconds[1:]), "idle_cpu_s": min(cpu[1:])}
    figures = {**costs, "series": lines, "kilobytes": len(text) / 1000}
    return {"rollouts": n, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--rollouts", default="10,100,1000")
    arguments = parser.parse_args()
    rows = []
    for n in arguments.rollouts.split(","):
        with tempfile.TemporaryDirectory() as scratch:
            rows.append(scrapes(Path(scratch), int(n)))
        print(json.dumps(rows[-1]), flush=True)
    machine = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    write_atomic(
        arguments.out / "exporter_scrape.json", json.dumps({"machine": machine, "scrapes": rows}, indent=2).encode()
    )
    table = ["Scrapes of the exporter, shared with other work while measured.", ""]
    table += [f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}"]
    table += [
        f"| {' | '.join(f'{v:,.3f}' if isinstance(v, float) else str(v) for v in row.values())} |" for row in rows
    ]
    write_atomic(arguments.out / "exporter_scrape.md", ("\n".join(table) + "\n").encode())


if __name__ == "__main__":
    main()
