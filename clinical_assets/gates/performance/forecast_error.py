"""MP3 and MP4: is the forecast better than none, and is the whole curve calibrated?"""

from __future__ import annotations

from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.evidence import Evidence, bounds, combined, judged_sets, too_few
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import Estimate, evidence_below, pooled
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.curves import kaplan_meier
from clinical_assets.modeling.metrics.calibration import dcalibration
from clinical_assets.modeling.metrics.prediction_error import brier_contributions, integrate, null_survival
from clinical_assets.modeling.metrics.smooth import observed_risk
from clinical_assets.modeling.outcomes import Outcomes

GATE = GateName.PERFORMANCE


@check(GATE, "MP3", "Better than no model", "skill: 1 - IBS / IBS of Kaplan-Meier (label: Brier skill)")
def skill(case: Case) -> Finding:
    policy, found = case.policy.performance, []
    trained = Outcomes.from_frame(case.facts.train, case.facts.contract.endpoint)
    skills: list[Estimate] = []
    for evidence in case.once(judged_sets):
        finding, estimate = _skill(evidence, trained, policy)
        found.append((evidence, finding))
        skills.append(estimate)
    skills, floor = pooled(skills), policy.skill_floor
    below = evidence_below(skills, floor, floor, policy.block_confidence, len(skills))
    worse = (
        "" if below is None else f"skill {below.value:.3f} on {below.name}: worse than giving everyone the same risk"
    )
    return combined(case, found, worse, "recalibrate")


def _skill(evidence: Evidence, trained: Outcomes, policy: PerformancePolicy) -> tuple[Finding, Estimate]:
    errors, null = squared_errors(evidence, trained)
    counts = evidence.draws.counts
    found = evidence.draws.interval(
        1.0 - errors.mean() / null.mean(), 1.0 - (counts @ errors) / (counts @ null), policy.confidence
    )
    common: dict[str, Any] = {
        "value": found.estimate,
        "interval": bounds(found),
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "threshold": f"interval above {policy.skill_floor:g}",
        "threshold_source": PerformancePolicy.source("skill_floor"),
        "details": {"replicates": found.replicates, "seed": found.seed},
    }
    estimate = Estimate(evidence.name, found.estimate, found.standard_error, evidence.events)
    text = f"skill {found.estimate:.3f} ({found.low:.3f} to {found.high:.3f}) on {evidence.name}"
    if found.low <= policy.skill_floor:
        reason = f"{text}: no better than no model"
        return Finding(Verdict.INCONCLUSIVE, reason, "more events or features", **common), estimate
    return Finding(Verdict.PASS, text, **common), estimate


def squared_errors(evidence: Evidence, trained: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    """(n,) errors of the model and of the null model: integrated over time with 1/G weights, or squared differences.

    Times beyond the set's follow-up are cut off. The null model gives everyone the training set's curve or prevalence.
    """
    if evidence.outcomes.kind == "binary":
        label = evidence.outcomes.flag
        return (label - evidence.risk) ** 2, (label - trained.flag.mean()) ** 2
    survival, times = evidence.predictions.survival, evidence.predictions.times
    if survival is None or times is None:
        raise ValueError(f"the {evidence.name} predictions hold no survival curves")
    inside = times <= evidence.outcomes.times().max()
    if inside.sum() < 2:
        raise ValueError(f"follow-up of the {evidence.name} patients ends before the second time of the curves")
    times, null = times[inside], kaplan_meier(trained.times(), trained.flag)
    errors = brier_contributions(evidence.outcomes, survival[:, inside], times)
    null_errors = brier_contributions(evidence.outcomes, null_survival(null, evidence.outcomes.n, times), times)
    return integrate(errors, times), integrate(null_errors, times)


@check(GATE, "MP4", "Calibration of the whole curve", "p-value of D-calibration")
def d_calibration(case: Case) -> Finding:
    """Warns where the test speaks against uniform S(T) *and* the distance at the horizon (ICI) is beyond its limit."""
    facts, policy = case.facts, case.policy.performance
    common: dict[str, Any] = {
        "n": len(facts.test),
        "threshold": f"p above {policy.d_calibration_p:g}, or ICI at most {policy.ici_max:g}",
        "threshold_source": PerformancePolicy.source("d_calibration_p"),
    }
    horizon = facts.contract.endpoint.horizon_days
    if horizon is None:
        return Finding(Verdict.PASS, "does not apply: a label has no curve", **common)
    sets = case.once(judged_sets)
    if not sets:
        return too_few(case)
    details = {}
    for evidence in sets:
        survival, times = evidence.predictions.survival, evidence.predictions.times
        if survival is None or times is None:
            raise ValueError(f"the {evidence.name} predictions hold no survival curves")
        found = dcalibration(evidence.outcomes, survival, times)
        ici = float(np.abs(observed_risk(evidence.outcomes, evidence.risk, horizon) - evidence.risk).mean())
        histogram = found.histogram.round(2)
        details[evidence.name] = {"p": found.p_value, "statistic": found.statistic, "buckets": histogram, "ici": ici}
    off = [name for name, one in details.items() if one["p"] <= policy.d_calibration_p and one["ici"] > policy.ici_max]
    first = details[sets[0].name]
    common |= {"value": first["p"], "n": sets[0].outcomes.n, "events": sets[0].events, "details": details}
    text = "; ".join(f"p {one['p']:.3f}, ICI {one['ici']:.3f} on {name}" for name, one in details.items())
    if off:
        return Finding(Verdict.WARN, f"{text}: the curves are off", "recalibrate, and see MP5 and MP17", **common)
    return Finding(Verdict.PASS, text, **common)
