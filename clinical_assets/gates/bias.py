"""Gate 3, bias: does the model serve every group that was recorded, and is it said which were not?

Groups are those of the contract (`trials.groups`): categories, bands of numbers, and "not reported" as a group of its
own. They are judged on test and out-of-fold patients together, whom the model in question had not seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check, run_gate
from clinical_assets.gates.evidence import aligned
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.sensitivity import Audited, Gap, sensitivity_gaps
from clinical_assets.gates.thresholds import BiasPolicy
from clinical_assets.gates.verdict import GateName, GateReport, Verdict
from clinical_assets.modeling.curves import horizon_labels
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.groups import NOT_REPORTED, sensitive_groups

GATE = GateName.BIAS
NOTHING_COLLECTED = "no sensitive attribute was collected: nothing can be said about any group"
COLLECT = "collect the attribute, or restrict the intended use to the groups that were studied"


def judge(facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    return run_gate(GATE, facts, policy)


def audited(case: Case) -> Audited:
    facts = case.facts
    parts = [(facts.test, facts.test_pred)] + ([(facts.train, facts.oof)] if facts.oof is not None else [])
    frame = pd.concat([rows for rows, _ in parts], ignore_index=True)
    outcomes = Outcomes.from_frame(frame, facts.contract.endpoint)
    return Audited(
        groups=sensitive_groups(frame, facts.contract),
        risk=np.concatenate([aligned(rows, predictions).risk for rows, predictions in parts]),
        outcomes=outcomes,
        labels=horizon_labels(outcomes, float(facts.contract.endpoint.horizon_days or 0.0)),
        subjects=frame["subject_id"].to_numpy(),
        horizon=facts.contract.endpoint.horizon_days,
    )


def group_sizes(found: Audited) -> dict[str, dict[str, tuple[int, int]]]:
    """Attribute -> group -> (subjects, events by the horizon)."""
    return {
        attribute: {
            str(name): (int((groups == name).sum()), int(found.cases[groups == name].sum()))
            for name in sorted(groups.unique(), key=str)
        }
        for attribute, groups in ((attribute, found.groups[attribute]) for attribute in found.groups.columns)
    }


@check(GATE, "BI1", "Groups are large enough", "events in the smallest group")
def group_table(case: Case) -> Finding:
    """Every group's size; groups below the suppression limit are counted, not shown."""
    policy = case.policy.bias
    sizes = group_sizes(case.once(audited))
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
        "n": len(case.once(audited).subjects),
        "events": int(case.once(audited).cases.sum()),
        "details": {"groups": table},
    }
    small = _small(sizes, policy)
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


def _small(sizes: dict[str, dict[str, tuple[int, int]]], policy: BiasPolicy) -> list[str]:
    """Groups with too few events. Patients who did not report an attribute are no group of the population."""
    return [
        f"{attribute} {name}"
        for attribute, groups in sizes.items()
        for name, (_, events) in groups.items()
        if events < policy.min_group_events and name != NOT_REPORTED
    ]


@check(GATE, "BI2", "Equal sensitivity", "largest difference in sensitivity, group minus others")
def equal_opportunity(case: Case) -> Finding:
    """Sensitivity at the declared operating point, as observed and at the group's own event rate (see `sensitivity`).

    BLOCK: at its own event rate the group's shortfall lies beyond the margin. INCONCLUSIVE: too few events, or a
    shortfall that event rates may or may not explain. WARN: any difference that is there or could be beyond the margin.
    """
    facts, policy, found = case.facts, case.policy.bias, case.once(audited)
    margin, threshold = policy.sensitivity_margin, facts.contract.endpoint.decision_threshold
    common: dict[str, Any] = {
        "n": len(found.subjects),
        "events": int(found.cases.sum()),
        "threshold": f"within +-{margin:g} at risk >= {threshold:g}; >= {policy.min_group_events} events per group",
        "threshold_source": f"{BiasPolicy.source('sensitivity_margin')}; operating point from the contract",
    }
    sizes = group_sizes(found)
    if not sizes:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, **common)
    judged, small = sensitivity_gaps(found, threshold, policy), _small(sizes, policy)
    common["details"] = {
        "gaps": [vars(gap) for gap in judged],
        "not_judged": small,
        "interval": f"{policy.confidence:.0%} percentile, {policy.bootstrap_replicates} replicates",
        "seed": policy.bootstrap_seed,
        "multiplicity": "none: every group is judged at the full level",
    }
    if judged:
        harmed = [gap for gap in judged if gap.adjusted_interval[1] < -margin]
        worst = max(harmed or judged, key=lambda gap: abs(gap.gap))
        common |= {"value": worst.gap, "interval": worst.interval}
    verdict, reason, remedy = _equality(judged, small, margin)
    return Finding(verdict, reason, remedy, **common)


def _equality(judged: list[Gap], small: list[str], margin: float) -> tuple[Verdict, str, str]:
    def listed(gaps: list[Gap]) -> str:
        return "; ".join(map(str, gaps))

    harmed = [gap for gap in judged if gap.adjusted_interval[1] < -margin]
    if harmed:
        remedy = "find out why the model misses these patients (features, follow-up, coding), then train again"
        return Verdict.BLOCK, f"the model misses more patients of: {listed(harmed)}", remedy
    if small or not judged:
        return Verdict.INCONCLUSIVE, f"too few events to judge {', '.join(small) or 'any group'}", COLLECT
    lower = [gap for gap in judged if gap.interval[1] < -margin]
    unclear = [gap for gap in lower if gap.adjusted_interval[1] - gap.adjusted_interval[0] > 4 * margin]
    if unclear:
        return Verdict.INCONCLUSIVE, f"event rates may or may not explain: {listed(unclear)}", "collect more events"
    remedy = "say so to the users, and consider an operating point per group"
    if lower:
        explained = all(gap.adjusted_interval[1] >= 0.0 for gap in lower)
        how_far = "accounts for" if explained else "accounts for only in part"
        return Verdict.WARN, f"lower sensitivity, which the event rate {how_far}: {listed(lower)}", remedy
    unequal = [gap for gap in judged if not gap.interval[0] <= 0.0 <= gap.interval[1]]
    if unequal:
        return Verdict.WARN, f"sensitivity differs: {listed(unequal)}", remedy
    open_ended = [gap for gap in judged if gap.interval[0] < -margin or gap.interval[1] > margin]
    if open_ended:
        return Verdict.WARN, f"no difference found, but one beyond the margin is possible: {listed(open_ended)}", remedy
    return Verdict.PASS, f"every group within {margin:g} of the others", ""


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
