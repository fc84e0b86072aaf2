"""How soon a bad challenger is off the route: by the controller's evidence, and by the proxy before any evidence.

nice python -m benchmarks.rollout_latency --out benchmarks/results        about five minutes
nice python -m benchmarks.rollout_latency --repetitions 2 --parts rollback

`rollback` and `reweights` run the real local stack: supervisor, Envoy, two model servers, signed records, a ledger,
patients through the gateway, and the controller's tick every five seconds, which is the floor of the sensor.
`ejection` puts the same Envoy configuration before servers that fail on command. A prediction that is no risk (NaN)
reaches the proxy as status 500, so both are one kind of fault to it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

import clinical_assets.rollout.tick  # noqa: F401  declares the evidence tables
from benchmarks.tables import Section, markdown, show
from clinical_assets.foundation.clock import SystemClock
from clinical_assets.foundation.files import write_atomic
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout import stages
from clinical_assets.rollout.authority import EvidenceAuthority
from clinical_assets.rollout.entries import Arm, Outcome, Prediction, PredictionStatus
from clinical_assets.rollout.opening import open_rollout
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.rollout.routing import RouteState
from clinical_assets.rollout.tick import tick
from clinical_assets.serving import control
from clinical_assets.serving.client import GatewayClient, GatewayError
from clinical_assets.serving.desired import DesiredState
from clinical_assets.serving.envoy import EnvoyRouter, EnvoyTelemetry
from tests.serving.conftest import CANCER, ROW, fit_model, free_ports, make_hospital, port_environment, running_gateway
from tests.serving.planes import A, B, request

SENSOR_S = 5.0
TARGETS = {"rollback_s": 7.0, "ejection_s": 2.0, "failed_during_reweights": 0}
SHADOW_PATIENTS = 250
console = Console(stderr=True)


@dataclass
class Patients:
    """Callers who ask without pause; what they got, with the wall time of each answer."""

    ask: Callable[[int], tuple[int, str]]
    answers: list[tuple[float, int, str]] = field(default_factory=list)

    @contextmanager
    def coming(self, callers: int = 3) -> Iterator[Patients]:
        done = threading.Event()

        def call(caller: int) -> None:
            number = caller
            while not done.wait(0.02):
                number += callers
                status, who = self.ask(number)
                self.answers.append((time.time(), status, who))

        threads = [threading.Thread(target=call, args=(number,), daemon=True) for number in range(callers)]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            done.set()
            for thread in threads:
                thread.join()


class Stack:
    """The local data plane with a champion in service and a challenger placed."""

    def __init__(self, root: Path) -> None:
        self.hospital = make_hospital(root, (fit_model(1), fit_model(2)))
        os.environ.update(port_environment(free_ports()))
        self.ports = control.ensure_running(self.hospital.home)
        for digest, keep in ((self.hospital.champion, None), (self.hospital.challenger, self.hospital.champion)):
            self.hospital.approve(digest)
            self.hospital.desired.place(CANCER, digest, keep)
        dataplane = self.hospital.home.dataplane
        self.authority = EvidenceAuthority(self.hospital.records, self.hospital.ledger, "test")
        self.router, self.telemetry = EnvoyRouter(dataplane, self.authority), EnvoyTelemetry(dataplane)
        self.client = GatewayClient(self.ports.gateway)
        self.router.apply(RouteState(CANCER, "", self.hospital.champion), time.time())

    def ask(self, number: int) -> tuple[int, str]:
        try:
            answer = self.client.infer(CANCER, ROW | {"age": 30.0 + number % 50}, f"{time.time_ns():032x}")
            return 200, "challenger" if answer.digest == self.hospital.challenger else "champion"
        except GatewayError as error:
            return error.status, ""

    def tick(self, rollout: str) -> str:
        clock = SystemClock()
        ports = (self.hospital.ledger, self.router, self.telemetry, self.authority, clock)
        return tick(rollout, *ports, "benchmark").stage

    def in_ramp(self) -> str:
        """A new rollout of the challenger, proven on mirrored patients, at 50 %."""
        policy = RolloutPolicy(
            ramp=(50,), min_shadow_pairs=50, min_requests=1, dwell_days=0, cooldown_days=0, margin_fraction=0.9
        )
        plan = RolloutPlan(
            cancer=CANCER,
            champion=self.hospital.champion,
            challenger=self.hospital.challenger,
            champion_brier=0.2,
            policy=policy,
        )
        ledger = self.hospital.ledger
        rollout = open_rollout(ledger, plan, "benchmark", time.time(), person="benchmark").id
        deadline = time.monotonic() + 180
        rng = np.random.default_rng(1)
        while (stage := self.tick(rollout)) != stages.APPROVAL:
            if stage == stages.ROLLED_BACK or time.monotonic() > deadline:
                reason = ledger.transitions(rollout)[-1].transition.reason
                raise RuntimeError(f"the rollout came to {stage} instead of 50 %: {reason}")
            with ThreadPoolExecutor(4) as pool:
                ids = list(pool.map(self._labelled, range(SHADOW_PATIENTS if stage == stages.SHADOW else 20)))
            time.sleep(0.3)  # copies are scored after the answer
            if stage == stages.SHADOW:
                died = rng.uniform(size=len(ids)) < 0.3
                now = time.time()
                posted = [Outcome(q, CANCER, now, label=int(y)) for q, y in zip(ids, died, strict=True)]
                ledger.record_outcomes(posted)
        return rollout

    def _labelled(self, number: int) -> str:
        request_id = f"q{time.time_ns()}-{number}"
        self.client.infer(CANCER, ROW | {"age": 30.0 + number % 50}, f"{time.time_ns():032x}", request_id)
        return request_id

    @contextmanager
    def crash_loop(self) -> Iterator[None]:
        """The challenger's server is killed again and again, as when it runs out of memory."""
        dataplane, stop = self.hospital.home.dataplane, threading.Event()
        slot = DesiredState(dataplane).slot_of(CANCER, self.hospital.challenger) or ""

        def kill() -> None:
            while not stop.is_set():
                record = json.loads((dataplane / "processes.json").read_text()).get(slot) or {}
                if record.get("pid"):
                    try:
                        os.kill(record["pid"], signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                stop.wait(0.3)

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    @contextmanager
    def invalid_output(self, rollout: str) -> Iterator[None]:
        """The model server records one prediction that is no risk, as it does for a model that gives NaN."""
        entry = Prediction(
            f"nan-{time.time_ns()}", self.hospital.challenger, CANCER, rollout, "f" * 32, Arm.CHALLENGER, 0.5, None,
            time.time(), PredictionStatus.INVALID,
        )  # fmt: skip
        self.hospital.ledger.record_predictions([entry])
        yield


def rollback(stack: Stack, repetitions: int) -> list[dict[str, Any]]:
    """First bad sample to confirmed share 0, with faults at random moments between two ticks."""
    rng, found = np.random.default_rng(0), []
    for kind in ("invalid output", "crash loop"):
        for number in range(repetitions):
            console.print(f"rollback, {kind}, {number + 1} of {repetitions}")
            rollout = stack.in_ramp()
            with Patients(stack.ask).coming() as patients:
                stack.tick(rollout)
                time.sleep(float(rng.uniform(0, SENSOR_S)))
                began = time.time()
                fault = stack.crash_loop() if kind == "crash loop" else stack.invalid_output(rollout)
                following = began + float(rng.uniform(0, SENSOR_S))  # the sensor does not know of the fault
                with fault:
                    while True:
                        time.sleep(max(0.0, following - time.time()))
                        following += SENSOR_S
                        if stack.tick(rollout) == stages.ROLLED_BACK:
                            break
                        if time.time() - began > 120:
                            raise RuntimeError(f"{kind}: not rolled back within 120 s")
                ended = time.time()
                time.sleep(0.5)
            last = stack.hospital.ledger.transitions(rollout)[-1].transition
            late = [at for at, _, who in patients.answers if who == "challenger" and at > ended + 0.2]
            found.append(
                {
                    "fault": kind,
                    "rule": last.rule,
                    "seconds_to_share_zero": last.statistics["rollback"]["seconds_to_share_zero"],
                    "seconds_since_fault": ended - began,
                    "requests": len(patients.answers),
                    "failed": sum(status != 200 for _, status, _ in patients.answers),
                    "answers_by_the_challenger_afterwards": len(late),
                }
            )
            time.sleep(3.0)  # a killed server comes back
    return found


def ejection(repetitions: int) -> list[dict[str, Any]]:
    """At 50 % of some 100 requests a second, for 6 s of a fault that stays.

    The challenger is ejected at the last failing answer before a second without one. All failing answers are counted,
    those of its later trials too.
    """
    found = []
    for kind in ("crash", "status 500 or NaN", "status 503"):
        for number in range(repetitions):
            console.print(f"ejection, {kind}, {number + 1} of {repetitions}")
            with tempfile.TemporaryDirectory() as scratch, running_gateway(Path(scratch)) as gateway:
                gateway.authority.granted = {A: Scope.TRAFFIC, B: Scope.TRAFFIC}
                desired = DesiredState(gateway.dataplane)
                desired.place(CANCER, A)
                desired.place(CANCER, B, keep=A)
                router = EnvoyRouter(gateway.dataplane, gateway.authority)
                router.apply(RouteState(CANCER, "", A), time.time())
                router.apply(RouteState(CANCER, "r", A, B, 50), time.time())
                gate = ("127.0.0.1", gateway.ports.gateway)

                def ask(patient: int, gate: tuple[str, int] = gate) -> tuple[int, str]:
                    status, body = request(gate, f"p{patient}", f"/v2/models/{CANCER}/infer", {})
                    return status, body.get("from", "") if status == 200 else ""

                with Patients(ask).coming() as patients:
                    time.sleep(1.0)
                    began = time.time()
                    if kind == "crash":
                        gateway.green.die()
                    else:
                        gateway.green.mode = "503" if kind.endswith("503") else "500"
                    time.sleep(6.0)
                failing = [at for at, status, _ in patients.answers if status != 200 and at >= began]
                last = next((at for at, then in pairwise(failing) if then - at >= 1.0), None)
                seconds = (last or failing[-1]) - began if failing else 0.0
                after = [at for at, status, who in patients.answers if who == "blue" and at > began + seconds]
                found.append(
                    {
                        "fault": kind,
                        "seconds_to_ejection": seconds,
                        "failed": len(failing),
                        "answered_by_the_champion_afterwards": len(after),
                    }
                )
    return found


def reweights(stack: Stack, times: int = 100) -> dict[str, Any]:
    """Requests that failed while the weight changed `times` times."""
    console.print(f"{times} reweights under load")
    champion, challenger = stack.hospital.champion, stack.hospital.challenger
    stack.router.apply(RouteState(CANCER, "r", champion, challenger, 5), time.time())
    seconds = []
    with Patients(stack.ask).coming() as patients:
        for step in range(times):
            started = time.perf_counter()
            route = RouteState(CANCER, "r", champion, challenger, (step * 37) % 101, mirror=step % 2 == 0)
            stack.router.apply(route, time.time())
            seconds.append(time.perf_counter() - started)
    stack.router.apply(RouteState(CANCER, "", champion), time.time())
    statuses = Counter(status for _, status, _ in patients.answers)
    return {
        "reweights": times,
        "requests": len(patients.answers),
        "failed": len(patients.answers) - statuses[200],
        "seconds_p50": float(np.median(seconds)),
        "seconds_worst": max(seconds),
    }


def sections(figures: dict[str, Any]) -> list[Section]:
    found = []
    if rows := figures.get("rollback"):
        note = f"From the first bad sample to a confirmed share of 0; target {TARGETS['rollback_s']:g} s."
        header = ("fault", "runs", "median s", "worst s", "failed requests", "challenger's answers afterwards")
        table = []
        for kind in dict.fromkeys(row["fault"] for row in rows):
            of = [row for row in rows if row["fault"] == kind]
            times = [row["seconds_to_share_zero"] for row in of]
            failed, late = (sum(r[k] for r in of) for k in ("failed", "answers_by_the_challenger_afterwards"))
            table.append((kind, str(len(of)), f"{np.median(times):.1f}", f"{max(times):.1f}", str(failed), str(late)))
        found.append(Section("Rollback by evidence", note, header, table))
    if rows := figures.get("ejection"):
        note = (
            f"From the fault to the last failed answer before the challenger is ejected, at 50 %; target "
            f"{TARGETS['ejection_s']:g} s. An ejected server is tried again after 2 to 3 s; answers of those trials "
            "count among the failed ones of 6 s."
        )
        table = []
        for kind in dict.fromkeys(row["fault"] for row in rows):
            of = [row for row in rows if row["fault"] == kind]
            times = [row["seconds_to_ejection"] for row in of]
            counts = [str(row["failed"]) for row in of]
            table.append((kind, str(len(of)), f"{np.median(times):.2f}", f"{max(times):.2f}", ", ".join(counts)))
        header = ("fault", "runs", "median s", "worst s", "failed answers in each run")
        found.append(Section("Ejection by the proxy", note, header, table))
    if row := figures.get("reweights"):
        note = "Real model servers under load; target: none fails."
        cells = (
            row["reweights"],
            row["requests"],
            row["failed"],
            f"{row['seconds_p50']:.3f}",
            f"{row['seconds_worst']:.3f}",
        )
        header = ("reweights", "requests", "failed", "median s", "worst s")
        found.append(Section("Reweights", note, header, [tuple(str(cell) for cell in cells)]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--parts", default="ejection,reweights,rollback")
    parser.add_argument("--repetitions", type=int, default=5, help="runs of each fault")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    path = arguments.out / "rollout_latency.json"
    figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    figures["machine"] = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    figures["load_before"] = os.getloadavg()[0]

    def keep(part: str, found: Any) -> None:
        figures[part] = found
        write_atomic(path, json.dumps(figures, indent=1).encode())

    if "ejection" in parts:
        keep("ejection", ejection(arguments.repetitions))
    if {"reweights", "rollback"} & set(parts):
        with tempfile.TemporaryDirectory() as scratch:
            stack = Stack(Path(scratch))
            try:
                if "reweights" in parts:
                    keep("reweights", reweights(stack))
                if "rollback" in parts:
                    keep("rollback", rollback(stack, arguments.repetitions))
            finally:
                control.stop(stack.hospital.home)
    shown = sections(figures)
    cores, load = figures["machine"]["cores"], figures["load_before"]
    introduction = f"Real Envoy and model servers on {cores} cores; load average {load:.1f} before it began."
    write_atomic(
        path.with_suffix(".md"), markdown("How soon a bad challenger is off the route", introduction, shown).encode()
    )
    show(shown, Console())


if __name__ == "__main__":
    main()
