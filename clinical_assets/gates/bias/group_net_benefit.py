"""BI12: is acting on the prediction better than treating nobody, in every group (Vickers & Elkin 2006)?

At the operating point pt, net benefit is share flagged * (PPV - pt) / (1 - pt): it is negative exactly where fewer of
the flagged have the event than pt. Its interval is that of the PPV (Kaplan-Meier among the flagged; Wilson, with the
effective number of patients that Greenwood's variance amounts to), so that it holds for a handful of flagged patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clinical_assets.gates.bias.group_audit import (
    COLLECT,
    NOTHING_COLLECTED,
    Audited,
    Gap,
    calibrated,
    details,
    judged_groups,
    listed,
    quantiles,
    small_groups,
)
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.influence import risk_influence
from clinical_assets.modeling.metrics.proportions import Share
from clinical_assets.modeling.outcomes import Outcomes


def observed_share(outcomes: Outcomes, horizon: float | None) -> Share:
    """Observed risk, with the number of patients that would give its variance without censoring."""
    risk, influence = risk_influence(outcomes, horizon)
    error = float(influence @ influence) / outcomes.n**2
    return Share(risk, risk * (1.0 - risk) / error if error > 0.0 else float(outcomes.n))


def net_benefit(
    outcomes: Outcomes, risk: np.ndarray, threshold: float, horizon: float | None, quantiles: Sequence[float]
) -> tuple[float, list[tuple[float, float]]]:
    """Net benefit of acting where `risk >= threshold`, and its interval at each normal quantile; 0 if nobody is."""
    acted = risk >= threshold
    share = float(acted.mean())
    if not acted.any():
        return 0.0, [(0.0, 0.0) for _ in quantiles]
    events = observed_share(outcomes.take(acted), horizon)

    def benefit(predictive: float) -> float:
        return share * (predictive - threshold) / (1.0 - threshold)

    bounds = [events.bounds(z) for z in quantiles]
    return benefit(events.value), [(benefit(low), benefit(high)) for low, high in bounds]


def net_benefit_gaps(audit: Audited, threshold: float, policy: BiasPolicy) -> list[Gap]:
    """Net benefit of the model in every group with enough events; `others`, treating nobody, is 0."""
    groups = judged_groups(audit, policy)
    z = quantiles(policy, len(groups))
    found = []
    for group in groups:
        outcomes, risk = audit.outcomes.take(group.inside), audit.risk[group.inside]
        own, (interval, strict) = net_benefit(outcomes, risk, threshold, audit.horizon, z)
        found.append(Gap(group.attribute, group.name, group.n, group.events, own, 0.0, own, interval, strict))
    return found


@check(GateName.BIAS, "BI12", "Net benefit in every group", "smallest net benefit of a group, treating nobody is 0")
def net_benefit_by_group(case: Case) -> Finding:
    """BLOCK: over all groups together, acting on the prediction does more harm than treating nobody of a group."""
    policy, audit = case.policy.bias, case.once(calibrated)
    threshold = case.facts.contract.endpoint.decision_threshold
    gaps, small = net_benefit_gaps(audit, threshold, policy), small_groups(audit, policy)
    common: dict[str, Any] = {
        "n": len(audit.risk),
        "events": int(audit.cases.sum()),
        "threshold": f"not below 0, treating nobody, at risk >= {threshold:g}",
        "threshold_source": "Vickers & Elkin 2006; operating point from the contract",
        "details": {
            **details(policy, gaps, small, "Wilson, by the predictive value among the flagged"),
            "reference": "treating nobody",
        },
    }
    if not audit.members:
        return Finding(Verdict.INCONCLUSIVE, NOTHING_COLLECTED, COLLECT, **common)
    remedy = "do not use the model in this group, or find an operating point at which it helps"
    harmed = [gap for gap in gaps if gap.strict[1] < 0.0]
    if gaps:
        worst = min(gaps, key=lambda gap: gap.gap)
        common |= {"value": worst.gap, "interval": worst.strict if harmed else worst.interval}
    if harmed:
        return Finding(Verdict.BLOCK, f"worse than treating nobody: {listed(harmed)}", remedy, **common)
    if small or not gaps:
        reason = f"too few events to judge {', '.join(small) or 'any group'}"
        return Finding(Verdict.INCONCLUSIVE, reason, COLLECT, **common)
    doubtful = [gap for gap in gaps if gap.gap < 0.0]
    if doubtful:
        return Finding(Verdict.WARN, f"could be worse than treating nobody: {listed(doubtful)}", remedy, **common)
    return Finding(Verdict.PASS, f"no group worse off than treating nobody; least {worst}", **common)
