"""One cancer type: its clean release and twins through the gates, then every fault through both kinds of gate."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.gate_power import (  # noqa: F401 - each registers its faults
    bias_faults,
    data_faults,
    performance_faults,
    regulatory_faults,
    security_faults,
)
from benchmarks.gate_power.fault import FAULTS, Fault, Severity
from benchmarks.gate_power.releases import Release, open_release, twin
from benchmarks.gate_power.typical_gate import points, refusals
from clinical_assets.gates.judging import JUDGES
from clinical_assets.gates.verdict import GateName, GateReport, Verdict
from clinical_assets.gates.verdicts import limits

BLOCKING = (Verdict.BLOCK, Verdict.ERROR)


@dataclass(frozen=True)
class Answer:
    """What the gates said about one release. `limited`: checks that keep its scope below traffic without a block."""

    blocks: dict[str, str]
    limited: list[str]
    inconclusive: list[str]
    warned: list[str]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Task:
    """`severities` to inject; none judges the clean release and its twins alone."""

    slug: str
    twins: int
    severities: tuple[Severity, ...]
    only: tuple[str, ...] = ()


@dataclass
class Record:
    """Results of one cancer type, as plain JSON."""

    slug: str
    clean: list[dict[str, Any]] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    problem: str = ""


def answer(release: Release, gates: Iterable[GateName], known: frozenset[str] = frozenset()) -> Answer:
    """The gates in turn, up to the first that blocks for another reason than those `known` of the clean release."""
    reports: dict[GateName, GateReport] = {}
    seconds = {}
    for gate in gates:
        started = time.perf_counter()
        reports[gate] = JUDGES[gate](release.facts, release.policy)
        seconds[gate.value] = round(time.perf_counter() - started, 3)
        if any(check.verdict in BLOCKING and check.id not in known for check in reports[gate].checks):
            break
    checks = [check for report in reports.values() for check in report.checks]
    held = limits(reports, release.facts.tier, release.facts.waivers, release.facts.now)
    blocks = {check.id: f"{check.verdict.value}: {check.reason}"[:300] for check in checks if check.verdict in BLOCKING}
    return Answer(
        blocks,
        sorted({limit.check_id for limit in held if limit.check_id} - set(blocks)),
        [check.id for check in checks if check.verdict is Verdict.INCONCLUSIVE],
        [check.id for check in checks if check.verdict is Verdict.WARN],
        seconds,
    )


def run(task: Task) -> Record:
    """Everything about one cancer type; a failure is a problem on record, not an end of the run."""
    record = Record(task.slug)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="gate-power-") as scratch:
        warnings.simplefilter("ignore")
        try:
            release = open_release(task.slug, Path(scratch))
            clean = answer(release, JUDGES)
            record.clean.append({"release": "own", **asdict(clean)})
            for seed in range(task.twins):
                drawn = answer(twin(release, seed), JUDGES)
                record.clean.append({"release": f"twin {seed}", **asdict(drawn)})
            if task.severities:
                _inject(task, release, clean, record)
        except Exception as error:  # reported beside the cancer type; the others go on
            record.problem = f"{type(error).__name__}: {error}"
    return record


def _inject(task: Task, release: Release, clean: Answer, record: Record) -> None:
    last = points(release.facts)
    for fault in FAULTS.values():
        for severity in task.severities:
            if task.only and fault.name not in task.only:
                continue
            facts = fault.inject(release, severity)
            if facts is not None:
                judged = judged_case(fault, severity, replace(release, facts=facts), clean)
                record.cases.append(judged | {"typical": refusals(facts, last)})


def judged_case(
    fault: Fault, severity: Severity, faulty: Release, clean: Answer, gates: Iterable[GateName] = tuple(JUDGES)
) -> dict[str, Any]:
    """The fault's own gate first. What blocked or limited the clean release as well does not count."""
    known = frozenset(clean.blocks)
    found = answer(faulty, [fault.gate, *(gate for gate in gates if gate is not fault.gate)], known)
    blocks = {id: why for id, why in found.blocks.items() if id not in known}
    return {
        "fault": fault.name,
        "gate": fault.gate.value,
        "severity": severity.value,
        "right": list(fault.checks),
        "named": sorted(set(blocks) & set(fault.checks)),
        "blocks": blocks,
        "held": sorted(set(found.limited) - set(clean.limited)),
        "warned": sorted(set(found.warned) & set(fault.checks)),
        "seconds": found.seconds,
    }
