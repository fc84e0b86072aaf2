"""What Envoy and the prediction log add to an answer: the same request through the gateway and to the bare server.

python -m benchmarks.gateway_latency --out benchmarks/results        about half a minute

Both ways take turns request by request, so that whatever else the machine does falls on both. The log's own cost is
that of one durable prediction, written alone; under load several share a commit.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import track

from benchmarks.rollout_latency import Stack
from benchmarks.tables import Section, markdown, show
from clinical_assets.foundation.files import write_atomic
from clinical_assets.rollout.entries import Arm, Prediction
from clinical_assets.serving import arms, control
from clinical_assets.serving.client import tensors
from clinical_assets.serving.ports import LOOPBACK
from tests.serving.conftest import CANCER, ROW

WARM_UP = 50


def answers(stack: Stack, requests: int) -> dict[str, np.ndarray]:
    """Milliseconds of each answer, one caller at a time."""
    ways = {"through Envoy": stack.ports.gateway, "bare server": stack.ports.blue}
    routed = {
        arms.CHAMPION: stack.hospital.champion, arms.CHALLENGER: "", arms.ROLLOUT: "", arms.WEIGHT: "0",
        arms.ARM: "champion", arms.COPY_FOR: arms.ORIGINAL,
    }  # fmt: skip
    body = {"inputs": tensors([ROW])}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    with httpx.Client(trust_env=False, timeout=10.0) as client:
        for number in track(range(WARM_UP + requests), "answers", console=Console(stderr=True)):
            for name, port in ways.items():
                one = {arms.PATIENT: f"{number:032x}", arms.REQUEST: f"{name.split()[0]}-{number}"}
                headers = one if name == "through Envoy" else routed | one
                began = time.perf_counter()
                answer = client.post(f"http://{LOOPBACK}:{port}/v2/models/{CANCER}/infer", json=body, headers=headers)
                taken[name].append(1000 * (time.perf_counter() - began))
                answer.raise_for_status()
    return {name: np.array(times[WARM_UP:]) for name, times in taken.items()}


def written(stack: Stack, rows: int) -> np.ndarray:
    """Milliseconds of one durable prediction each."""
    digest, ledger = stack.hospital.champion, stack.hospital.ledger

    def write(number: int) -> None:
        entry = Prediction(f"log-{number}", digest, CANCER, None, f"{number:032x}", Arm.CHAMPION, 0.0, 0.5, time.time())
        ledger.record_predictions([entry])

    return np.array([_milliseconds(write, number) for number in range(WARM_UP + rows)][WARM_UP:])


def _milliseconds(work: Callable[[int], None], number: int) -> float:
    began = time.perf_counter()
    work(number)
    return 1000 * (time.perf_counter() - began)


def sections(figures: dict[str, Any]) -> list[Section]:
    rows = [
        (name, *(f"{value:.2f}" for value in figures["milliseconds"][name].values()))
        for name in figures["milliseconds"]
    ]
    added = f"{figures['added_by_envoy_p50']:+.2f} ms at the median"
    note = f"Milliseconds, one caller. Added by Envoy: {added}; target for Envoy and log together 1 ms."
    return [Section("Answers", note, ("way", "p50", "p99"), rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--requests", type=int, default=2000, help="answers by each way")
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        stack = Stack(Path(scratch))
        try:
            taken = answers(stack, arguments.requests) | {
                "one prediction on record": written(stack, arguments.requests)
            }
        finally:
            control.stop(stack.hospital.home)
    figures = {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": load,
        "requests": arguments.requests,
        "milliseconds": {
            name: {f"p{q}": float(np.percentile(times, q)) for q in (50, 99)} for name, times in taken.items()
        },
        "added_by_envoy_p50": float(np.median(taken["through Envoy"]) - np.median(taken["bare server"])),
    }
    path = arguments.out / "gateway_latency.json"
    write_atomic(path, json.dumps(figures, indent=1).encode())
    introduction = f"Real Envoy and model server on {figures['cores']} cores; load average {load:.1f} before it began."
    page = markdown("What the gateway and the log add", introduction, sections(figures))
    write_atomic(path.with_suffix(".md"), page.encode())
    show(sections(figures), Console())


if __name__ == "__main__":
    main()
