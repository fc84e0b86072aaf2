"""MP6: is acting on the prediction worth more than treating everyone, no one, or as the champion says?

Net benefit (Vickers & Elkin 2006) at the declared operating point and around it: true positives per patient, less false
positives at the odds of the operating point. Patients censored before the horizon are weighted for (1/G), so that net
benefit is a mean over patients and its bootstrap one product.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.evidence import TEST, Evidence, bounds, combined, judged_sets
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import Estimate, evidence_below, pooled
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.curves import horizon_labels
from clinical_assets.modeling.metrics.bootstrap import Interval
from clinical_assets.modeling.outcomes import Outcomes

REVIEW = "recalibrate, or review the operating point with its owner"


def net_benefits(outcomes: Outcomes, flagged: np.ndarray, threshold: float, horizon: float | None) -> np.ndarray:
    """(n,) what each patient adds to the net benefit of acting on the `flagged` (n,); its mean is the net benefit."""
    labels = horizon_labels(outcomes, horizon or 0.0)
    gain = np.where(labels.label, 1.0, -threshold / (1.0 - threshold))
    return labels.weight * gain * flagged


@check(GateName.PERFORMANCE, "MP6", "Clinical utility", "net benefit above the better of treating all and none")
def clinical_utility(case: Case) -> Finding:
    """At the declared operating point a joint interval below the default blocks; neighbouring points can warn."""
    facts, policy = case.facts, case.policy.performance
    declared = facts.contract.endpoint.decision_threshold
    points = sorted({min(declared * share, 0.99) for share in policy.utility_range} | {declared})
    losses: dict[str, list[Estimate]] = {}
    found = []
    for evidence in case.once(judged_sets):
        curve = {point: _gain_over_default(evidence, case, point, losses, point == declared) for point in points}
        found.append((evidence, _finding(evidence, curve, declared, policy)))
    judged = {name: pooled(estimates) for name, estimates in losses.items()}
    joint = [replace(one, name=f"{name} on {one.name}") for name, known in judged.items() for one in known]
    worse = evidence_below(joint, 0.0, -policy.utility_margin, policy.block_confidence, len(joint))
    against = "" if worse is None else f"net benefit {worse.value:+.4f} against {worse.name}: acting on it does harm"
    return combined(case, found, against, REVIEW)


def _finding(evidence: Evidence, curve: dict[float, Interval], declared: float, policy: PerformancePolicy) -> Finding:
    gain = curve[declared]
    common: dict[str, Any] = {
        "value": gain.estimate,
        "interval": bounds(gain),
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "threshold": f"not below treating all, none or as the champion at risk {declared:g}; {policy.utility_margin:g} "
        "true positives per patient do not matter",
        "threshold_source": f"{PerformancePolicy.source('utility_margin')}; operating point from the contract",
        "details": {f"risk {point:.3g}": [one.estimate, one.low, one.high] for point, one in curve.items()},
    }
    text = f"{gain.estimate:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) at risk {declared:g} on {evidence.name}"
    if gain.estimate < -policy.utility_margin:
        reason = f"{text}: below the default, on too few events to say that acting on it does harm"
        return Finding(Verdict.INCONCLUSIVE, reason, REVIEW, **common)
    harmful = [f"{point:.3g}" for point, one in curve.items() if one.high < -policy.utility_margin]
    if harmful:
        reason = f"{text}; below the default at risk {', '.join(harmful)}"
        return Finding(Verdict.WARN, reason, "keep to the declared operating point", **common)
    return Finding(Verdict.PASS, text, **common)


def _gain_over_default(
    evidence: Evidence, case: Case, point: float, losses: dict[str, list[Estimate]], declared: bool
) -> Interval:
    """Net benefit above the better of all and none at `point`; at the declared one, all comparisons go to `losses`."""
    facts, policy = case.facts, case.policy.performance
    horizon, outcomes = facts.contract.endpoint.horizon_days, evidence.outcomes
    flagged = evidence.risk >= point
    own = net_benefits(outcomes, flagged, point, horizon)
    others = {
        "treating all": net_benefits(outcomes, np.ones_like(flagged), point, horizon),
        "treating none": np.zeros(outcomes.n),
    }
    default = max(others, key=lambda name: float(others[name].mean()))
    if facts.champion_pred is not None and evidence.name == TEST:
        others["the champion"] = net_benefits(outcomes, evidence.of(facts.champion_pred) >= point, point, horizon)
    gains = {name: _interval(evidence, own - other, policy) for name, other in others.items()}
    if declared:
        for name, gain in gains.items():
            estimate = Estimate(evidence.name, gain.estimate, gain.standard_error, evidence.events)
            losses.setdefault(name, []).append(estimate)
    return gains[default]


def _interval(evidence: Evidence, contributions: np.ndarray, policy: PerformancePolicy) -> Interval:
    counts = evidence.draws.counts
    values = (counts @ contributions) / counts.sum(axis=1)
    return evidence.draws.interval(float(contributions.mean()), values, policy.confidence)
