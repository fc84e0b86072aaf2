"""The tables: what the five gates stop, what they miss, and what they stop wrongly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import tables
from benchmarks.gate_power.fault import FAULTS, Severity
from benchmarks.gate_power.summary import Case, Share, Summary, kept, named, stopped
from benchmarks.tables import Section
from clinical_assets.gates.verdict import GateName


def sections(summary: Summary) -> Iterator[Section]:
    yield _headline(summary)
    yield _gates(summary)
    yield _faults(summary)
    yield _missed(summary)
    yield _clean(summary)
    yield _times(summary)


def markdown(summary: Summary) -> str:
    cohorts = sorted({case["cancer"] for case in summary.cases})
    introduction = (
        f"{len(FAULTS)} faults, each injected at three severities into real releases ({', '.join(cohorts)}), beside "
        "clean releases of every cancer type and clean twins (an even draw of 85 % of the patients of either side). "
        "A fault is *named* when a check that ought to find it blocks, *stopped* when any check blocks that let the "
        "clean release pass, *kept* when it is stopped or a required check became inconclusive. The own gate of a "
        "fault is asked first, the others only while nothing blocks."
    )
    return tables.markdown("Power of the five gates", introduction, sections(summary))


def _share(cases: Sequence[Case], test: Callable[[Case], bool]) -> str:
    return str(Share(sum(map(test, cases)), len(cases)))


def _headline(summary: Summary) -> Section:
    rows = []
    for name, cases in (("medium", summary.of("medium")), ("all severities", summary.cases)):
        reached, avoided = summary.reached(cases), summary.reductions(cases)
        rows.append(
            (name, *(str(count) for count in reached.values()), *(f"{share:.1%}" for share in avoided.values()))
        )
    note = (
        "Faulty releases that would reach patients. The typical gate: accuracy and AUC lost by more than .02 or "
        "demographic parity (fairlearn) worse by more than .10 than in the clean release itself, and a pickle scanner."
    )
    header = ("faults", "ungated", "typical gate", "five gates", "fewer than ungated", "fewer than typical gate")
    return Section("Failed deployments", note, header, rows)


def _gates(summary: Summary) -> Section:
    rows = []
    for gate in ("", *(one.value for one in GateName)):
        for severity in Severity:
            if cases := summary.of(severity.value, gate):
                shares = (_share(cases, test) for test in (named, stopped, kept, lambda case: bool(case["typical"])))
                rows.append((gate or "all", severity.value, *shares))
    note = "Share of the injected faults, with its exact 95 % interval."
    return Section(
        "Recall by gate", note, ("gate", "severity", "named", "stopped", "kept from traffic", "typical gate"), rows
    )


def _faults(summary: Summary) -> Section:
    rows = []
    for fault in FAULTS.values():
        counts = []
        for severity in Severity:
            cases = summary.of(severity.value, fault=fault.name)
            counts.append(f"{sum(map(named, cases))} / {sum(map(stopped, cases))} / {len(cases)}" if cases else "")
        cases = summary.of("medium", fault=fault.name)
        by = Counter(id for case in cases for id in case["named"])
        typical = f"{sum(bool(case['typical']) for case in cases)} / {len(cases)}"
        found = ", ".join(f"{id} {count}" for id, count in by.most_common())
        rows.append((fault.name, fault.gate.value, ", ".join(fault.checks), *counts, found, typical))
    header = ("fault", "gate", "right checks", "mild", "medium", "severe", "named by, at medium", "typical, at medium")
    return Section("Fault by fault", "named / stopped / injected", header, rows)


def _missed(summary: Summary) -> Section:
    rows = [
        (case["fault"], case["severity"], case["cancer"], _why(case))
        for case in summary.cases
        if not named(case) and case["severity"] != Severity.MILD
    ]
    note = "Medium and severe faults that no right check blocked."
    return Section("Not named", note, ("fault", "severity", "cohort", "what happened instead"), rows)


def _why(case: Case) -> str:
    if stopped(case):
        return f"stopped by {', '.join(case['blocks'])}"
    if kept(case):
        return f"kept from traffic: {', '.join(case['held'])} inconclusive"
    return f"reaches traffic; warned: {', '.join(case['warned']) or 'nothing'}"


def _clean(summary: Summary) -> Section:
    limiting = Counter(id for one in summary.clean for id in one["limited"])
    rows: list[tuple[str, Any]] = [
        ("blocked", str(summary.false_blocks)),
        ("limited by a required INCONCLUSIVE check", str(summary.inconclusive)),
        ("by check", ", ".join(f"{id} {count}" for id, count in limiting.most_common()) or "none"),
    ]
    rows += [
        (f"{one['cancer']}, {one['release']}", "; ".join(f"{id} {why}" for id, why in one["blocks"].items()))
        for one in summary.clean
        if one["blocks"]
    ]
    rows += [(record.slug, f"not judged: {record.problem}") for record in summary.records if record.problem]
    return Section("Clean releases", "Every BLOCK or ERROR here is a false one.", ("what", "found"), rows)


def _times(summary: Summary) -> Section:
    rows = [(gate, f"{times['median']:.2f}", f"{times['p95']:.2f}") for gate, times in summary.seconds().items()]
    return Section("Time", "Seconds of wall time on one clean release.", ("gate", "median", "95th percentile"), rows)
