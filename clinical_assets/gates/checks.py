"""The register of checks, and how a gate runs them: every check timed, no exception swallowed, only finite numbers.

A check is a pure function of a `Case`. It returns a `Finding`; the register adds identity and duration. An exception
becomes a result with verdict ERROR that holds its type and message, which blocks the gate. Details travel with the
signed record, so counts of one to ten patients are hidden in them.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from clinical_assets.foundation.clock import utc_iso
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Verdict
from clinical_assets.gates.verdicts import gate_verdict
from clinical_assets.trials.small_cells import without_small_cells

T = TypeVar("T")


@dataclass(frozen=True)
class Finding:
    """What one check found. Fields as in `CheckResult`."""

    verdict: Verdict
    reason: str
    remedy: str = ""
    value: float | str | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    events: int | None = None
    threshold: str = ""
    threshold_source: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Case:
    """The facts and the policy, the results so far, and what several checks of one gate share."""

    facts: ReleaseFacts
    policy: GatePolicy
    results: dict[str, CheckResult] = field(default_factory=dict)
    _shared: dict[Callable[..., Any], Any] = field(default_factory=dict)

    def once(self, compute: Callable[[Case], T]) -> T:
        """`compute(self)`, evaluated at most once per case."""
        if compute not in self._shared:
            self._shared[compute] = compute(self)
        return self._shared[compute]


@dataclass(frozen=True)
class Check:
    gate: GateName
    id: str
    title: str
    metric: str
    find: Callable[[Case], Finding]

    def run(self, case: Case) -> CheckResult:
        started = time.perf_counter()
        try:
            finding = self.find(case)
        except Exception as error:
            finding = Finding(
                Verdict.ERROR,
                f"the check crashed: {type(error).__name__}: {error}",
                "repair the input or the check; a crashed check is never a pass",
            )
        return CheckResult(
            id=self.id,
            title=self.title,
            metric=self.metric,
            verdict=finding.verdict,
            value=_plain(finding.value),
            interval=_interval(finding.interval),
            n=None if finding.n is None else int(finding.n),
            events=None if finding.events is None else int(finding.events),
            threshold=finding.threshold,
            threshold_source=finding.threshold_source,
            reason=finding.reason,
            remedy=finding.remedy,
            duration_s=round(time.perf_counter() - started, 4),
            details=without_small_cells(_plain(dict(finding.details))),
        )


REGISTER: dict[str, Check] = {}


def check(gate: GateName, id: str, title: str, metric: str) -> Callable[[Callable[[Case], Finding]], Callable]:
    """Register a function as check `id` of `gate`; a gate runs its checks in the order of registration.

    Raises:
        ValueError: the id is taken.
    """

    def register(find: Callable[[Case], Finding]) -> Callable[[Case], Finding]:
        if id in REGISTER:
            raise ValueError(f"check {id} is registered twice: {REGISTER[id].find.__qualname__}, {find.__qualname__}")
        REGISTER[id] = Check(gate, id, title, metric, find)
        return find

    return register


def run_gate(gate: GateName, facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    """Run every registered check of `gate` and derive the verdict."""
    started = time.time()
    case = Case(facts, policy)
    for registered in [entry for entry in REGISTER.values() if entry.gate is gate]:
        case.results[registered.id] = registered.run(case)
    checks = tuple(sorted(case.results.values(), key=lambda result: _by_number(result.id)))
    required = policy.required(gate)
    return GateReport(
        gate=gate,
        verdict=gate_verdict(checks, required),
        checks=checks,
        required=required,
        started=utc_iso(started),
        finished=utc_iso(time.time()),
        cancer=facts.cancer,
        model_digest=facts.model_digest,
        policy_digest=policy.digest,
    )


def _by_number(id: str) -> tuple[str, int, str]:
    """Reading order: MP3, MP15a, MP15b, MP18."""
    letters, number, rest = re.fullmatch(r"([A-Z]+)(\d*)(.*)", id).groups()  # type: ignore[union-attr]
    return letters, int(number or 0), rest


def _interval(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    if interval is None or not all(math.isfinite(bound) for bound in interval):
        return None
    return float(interval[0]), float(interval[1])


def _plain(value: Any) -> Any:
    """Built-in types only, so that a report can be hashed; what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
