"""Gate 3, bias: does the model serve every group that was recorded, and is it said which were not?

Here: who is in the audit, and who is not. The comparisons between groups have a module per theme and register with the
same gate.
"""

from __future__ import annotations

from typing import Any

from clinical_assets.gates.bias import (  # noqa: F401  they register their checks
    equal_opportunity,
    group_calibration,
    group_champion,
    group_discrimination,
    group_error_rates,
    group_net_benefit,
    group_records,
    intersections,
    weak_segments,
)
from clinical_assets.gates.bias.group_audit import COLLECT, NOTHING_COLLECTED, Audited, audited, small_groups
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check, run_gate
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import GateName, GateReport, Verdict
from clinical_assets.trials.groups import NOT_REPORTED

GATE = GateName.BIAS


def judge(facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    return run_gate(GATE, facts, policy)


def group_sizes(found: Audited) -> dict[str, dict[str, tuple[int, int]]]:
    """Attribute -> group -> (subjects, events by the horizon)."""
    sizes: dict[str, dict[str, tuple[int, int]]] = {}
    for group in found.members:
        sizes.setdefault(group.attribute, {})[group.name] = (group.n, group.events)
    return sizes


@check(GATE, "BI1", "Groups are large enough", "events in the smallest group")
def group_table(case: Case) -> Finding:
    """Every group's size; groups below the suppression limit are counted, not shown."""
    policy = case.policy.bias
    found = case.once(audited)
    sizes = group_sizes(found)
    common: dict[str, Any] = {
        "threshold": f">= {policy.min_group_events} events per group; below {policy.min_group_n} subjects hidden",
        "threshold_source": BiasPolicy.source("min_group_events"),
    }
    if not sizes:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, n=0, **common)
    table = {
        attribute: {
            name: {"n": n, "events": events} if n >= policy.min_group_n else f"hidden (n < {policy.min_group_n})"
            for name, (n, events) in groups.items()
        }
        for attribute, groups in sizes.items()
    }
    smallest = min(events for groups in sizes.values() for _, events in groups.values())
    common |= {
        "value": float(smallest) if smallest >= policy.min_group_n else f"< {policy.min_group_n}",
        "n": len(found.subjects),
        "events": int(found.cases.sum()),
        "details": {"groups": table},
    }
    small = small_groups(found, policy)
    if small:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"too few events to judge {', '.join(small)}",
            "recruit or pool these groups",
            **common,
        )
    tiny = [
        f"{attribute} {NOT_REPORTED}"
        for attribute, groups in sizes.items()
        if NOT_REPORTED in groups and groups[NOT_REPORTED][1] < policy.min_group_events
    ]
    if tiny:
        return Finding(Verdict.WARN, f"too few to judge: {', '.join(tiny)}", "complete the attribute", **common)
    return Finding(Verdict.PASS, f"at least {smallest} events in each group of {', '.join(sizes)}", **common)


@check(GATE, "BI16", "Nobody is left out of the audit", "rows in minus rows audited")
def rows_audited(case: Case) -> Finding:
    """For every attribute the groups add up to all test and training rows, and these to the snapshot's rows."""
    facts = case.facts
    rows = len(facts.train) + len(facts.test)
    recorded = int(facts.manifest.get("rows", -1))
    predicted = len(facts.test_pred.risk) + (len(facts.oof.risk) if facts.oof is not None else len(facts.train))
    common: dict[str, Any] = {
        "n": recorded,
        "threshold": "0: rows ingested = rows predicted = rows in the groups",
        "threshold_source": "patients with unknown attributes are patients; dropping them hides harm",
    }
    remedy = f"keep patients with a missing attribute as the group {NOT_REPORTED!r}"
    if predicted != recorded or rows != recorded:
        return Finding(
            Verdict.BLOCK,
            f"{recorded} rows ingested, {rows} split, {predicted} predicted",
            remedy,
            value=float(recorded - min(rows, predicted)),
            **common,
        )
    found = case.once(audited)
    short = {
        attribute: len(found.subjects) - sum(n for n, _ in groups.values())
        for attribute, groups in group_sizes(found).items()
    }
    common |= {"value": float(max(short.values(), default=0)), "details": {"left_out": short}}
    left_out = {attribute: count for attribute, count in short.items() if count}
    if left_out:
        return Finding(Verdict.BLOCK, f"rows in no group: {left_out}", remedy, **common)
    return Finding(
        Verdict.PASS, f"all {recorded} rows are in a group of {', '.join(short) or 'no attribute'}", **common
    )


@check(GATE, "BI19", "What was not collected is said", "expected attributes that are absent")
def not_collected(case: Case) -> Finding:
    """Absent attributes warn, whether the contract declares them or not; they never pass in silence."""
    contract, expected = case.facts.contract, case.policy.bias.expected_attributes
    audited_names = {column.name for column in contract.sensitive}
    absent = [name for name in expected if not any(name in have.split("_") for have in audited_names)]
    undeclared = [name for name in absent if name not in contract.not_collected]
    common: dict[str, Any] = {
        "value": float(len(absent)),
        "n": len(expected),
        "threshold": f"0 of {', '.join(expected)}",
        "threshold_source": BiasPolicy.source("expected_attributes"),
        "details": {"audited": sorted(audited_names), "not_collected": sorted({*absent, *contract.not_collected})},
    }
    if undeclared:
        return Finding(
            Verdict.WARN,
            f"not collected, and not declared so: {', '.join(undeclared)}",
            "name them in the contract's not_collected",
            **common,
        )
    if absent:
        return Finding(Verdict.WARN, f"not collected: {', '.join(absent)}", COLLECT, **common)
    return Finding(Verdict.PASS, f"audited: {', '.join(sorted(audited_names))}", **common)
