"""BI2 and BI7: of the patients who will have the event, does the model find as many in every group?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clinical_assets.gates.bias.group_audit import (
    COLLECT,
    NOTHING_COLLECTED,
    Audited,
    attributes,
    audited,
    judged_groups,
    listed,
    multiplicity,
    only_attribute,
    small_groups,
)
from clinical_assets.gates.bias.group_error_rates import share_gaps
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.bias.sensitivity import SensitivityGap, sensitivity_gaps
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.curves import HorizonLabels, horizon_labels

INTERVAL = "Newcombe 1998; at the group's event rate joined with the delta method"


@check(GateName.BIAS, "BI2", "Equal sensitivity", "largest difference in sensitivity, group minus others")
def equal_opportunity(case: Case) -> Finding:
    """Sensitivity at the declared operating point, as observed and at the group's own event rate (see `sensitivity`).

    BLOCK: over all groups together, a group's shortfall lies beyond the margin, as observed and at its own event rate.
    INCONCLUSIVE: too few events, or a shortfall that event rates may or may not explain. WARN: any difference that
    is there or could be beyond the margin.
    """
    audit = case.once(audited)
    gaps = sensitivity_gaps(audit, case.facts.contract.endpoint.decision_threshold, case.policy.bias)
    return _finding(case, audit, gaps, {})


@check(
    GateName.BIAS, "BI7", "Equal error rates at the horizon", "largest difference in sensitivity, censoring by group"
)
def survival_equalized_odds(case: Case) -> Finding:
    """Sensitivity and false-positive rate at the horizon, weighted by each group's own censoring curve G(t).

    Groups that are followed differently are then not mistaken for groups that are served differently. Sensitivity is
    judged as in BI2; a difference in false-positive rates, which event rates move too, is shown and warned of.
    """
    facts, policy, audit = case.facts, case.policy.bias, case.once(audited)
    if facts.contract.endpoint.kind != "survival":
        reason = "does not apply: a label is not censored, BI2 and BI4 judge it"
        return Finding(Verdict.PASS, reason, n=len(audit.risk), **_threshold(case))
    threshold, looks = facts.contract.endpoint.decision_threshold, len(judged_groups(audit, policy))
    gaps: list[SensitivityGap] = []
    alarms = []
    for attribute in attributes(audit):
        weighted = only_attribute(audit, attribute, _labels_by_group(audit, attribute))
        gaps += sensitivity_gaps(weighted, threshold, policy, looks)
        alarms += share_gaps(weighted, weighted.controls, audit.risk >= threshold, policy, looks)
    return _finding(case, audit, gaps, {"false_positive_rate": [vars(gap) for gap in alarms]})


def _labels_by_group(audit: Audited, attribute: str) -> HorizonLabels:
    """Horizon labels whose weights come from the censoring curve of each patient's own group."""
    weight = np.zeros(len(audit.risk))
    for group in audit.members:
        if group.attribute == attribute:
            own = horizon_labels(audit.outcomes.take(group.inside), float(audit.horizon or 0.0))
            weight[group.inside] = own.weight
    return HorizonLabels(audit.labels.label, weight)


def _finding(case: Case, audit: Audited, gaps: list[SensitivityGap], more: dict[str, Any]) -> Finding:
    policy = case.policy.bias
    margin, small = policy.sensitivity_margin, small_groups(audit, policy)
    common: dict[str, Any] = {"n": len(audit.subjects), "events": int(audit.cases.sum()), **_threshold(case)}
    if not audit.members:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, **common)
    common["details"] = {
        "gaps": [vars(gap) for gap in gaps],
        "not_judged": small,
        "interval": INTERVAL,
        "multiplicity": f"to block: {multiplicity(policy, len(gaps))}; each group alone at {policy.confidence:.0%}",
        "reference": "all other patients of the audit",
        **more,
    }
    if gaps:
        harmed = [gap for gap in gaps if gap.harmed(margin)]
        worst = max(harmed or gaps, key=lambda gap: abs(gap.gap))
        common |= {"value": worst.gap, "interval": worst.strict if harmed else worst.interval}
    verdict, reason, remedy = _equality(gaps, small, margin)
    return Finding(verdict, reason, remedy, **common)


def _threshold(case: Case) -> dict[str, Any]:
    policy, threshold = case.policy.bias, case.facts.contract.endpoint.decision_threshold
    return {
        "threshold": f"within +-{policy.sensitivity_margin:g} at risk >= {threshold:g}; "
        f">= {policy.min_group_events} events per group",
        "threshold_source": f"{BiasPolicy.source('sensitivity_margin')}; operating point from the contract",
    }


def _equality(judged: Sequence[SensitivityGap], small: list[str], margin: float) -> tuple[Verdict, str, str]:
    harmed = [gap for gap in judged if gap.harmed(margin)]
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
