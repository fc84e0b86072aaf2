"""Gate 2, model performance: ranking, forecast error, comparison, output and serving. Leakage and calibration have
modules of their own that register with the same gate.

Metrics and bootstrap are those of `clinical_assets.modeling.metrics`; this module says what they must reach.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clinical_assets.gates import calibration_check, leakage, model_output  # noqa: F401  they register their checks
from clinical_assets.gates.checks import Case, Finding, check, run_gate
from clinical_assets.gates.evidence import Evidence, bounds, combined, evidence_sets
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.thresholds import PerformancePolicy
from clinical_assets.gates.verdict import GateName, GateReport, Verdict
from clinical_assets.modeling.curves import kaplan_meier
from clinical_assets.modeling.metrics.bootstrap import Interval
from clinical_assets.modeling.metrics.discrimination import harrell_c
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.metrics.prediction_error import brier_contributions, integrate, null_survival
from clinical_assets.modeling.outcomes import Outcomes

GATE = GateName.PERFORMANCE


def judge(facts: ReleaseFacts, policy: GatePolicy) -> GateReport:
    return run_gate(GATE, facts, policy)


@check(GATE, "MP1", "Discrimination", "Uno's C at the horizon (label: AUROC)")
def discrimination(case: Case) -> Finding:
    """Interval against chance (or the declared floor), and paired difference to the reference model."""
    found = [(evidence, _discrimination(case, evidence)) for evidence in case.once(evidence_sets)]
    return combined(case, found)


def _discrimination(case: Case, evidence: Evidence) -> Finding:
    facts, policy = case.facts, case.policy.performance
    pairs = ConcordancePairs.of(evidence.outcomes, facts.contract.endpoint.horizon_days)
    found = _concordance(evidence, pairs, evidence.risk, policy)
    details: dict[str, object] = {"replicates": found.replicates, "seed": found.seed}
    if evidence.outcomes.kind == "survival":
        details["harrell_c"] = harrell_c(evidence.outcomes, evidence.risk)
    common: dict[str, Any] = {
        "value": found.estimate,
        "interval": bounds(found),
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "threshold": f"interval above {policy.discrimination_floor:g}; not below {facts.reference_name}",
        "threshold_source": PerformancePolicy.source("discrimination_floor"),
        "details": details,
    }
    reference = _reference(facts, evidence)
    gain = None if reference is None else _difference(evidence, pairs, reference, policy)
    if gain is not None:
        details["gain_over_reference"] = [gain.estimate, gain.low, gain.high]
    text = f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f}) on {evidence.name}"
    if found.high < policy.discrimination_floor:
        return Finding(Verdict.BLOCK, f"{text} ranks below the floor", "check the sign and the features", **common)
    if gain is not None and gain.high < 0.0:
        return Finding(
            Verdict.BLOCK,
            f"{text} is worse than {facts.reference_name} by {-gain.estimate:.3f}",
            f"deploy {facts.reference_name} instead, or search again",
            **common,
        )
    if found.low < policy.discrimination_floor:
        return Finding(
            Verdict.INCONCLUSIVE, f"{text} cannot be told from {policy.discrimination_floor:g}", "more events", **common
        )
    return Finding(Verdict.PASS, text, **common)


@check(GATE, "MP3", "Better than no model", "skill: 1 - IBS / IBS of Kaplan-Meier (label: Brier skill)")
def skill(case: Case) -> Finding:
    found = [(evidence, _skill(case, evidence)) for evidence in case.once(evidence_sets)]
    return combined(case, found)


def _skill(case: Case, evidence: Evidence) -> Finding:
    policy = case.policy.performance
    trained = Outcomes.from_frame(case.facts.train, case.facts.contract.endpoint)
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
    text = f"skill {found.estimate:.3f} ({found.low:.3f} to {found.high:.3f}) on {evidence.name}"
    if found.high < policy.skill_floor:
        return Finding(Verdict.BLOCK, f"{text}: worse than giving everyone the same risk", "recalibrate", **common)
    if found.low <= policy.skill_floor:
        return Finding(Verdict.INCONCLUSIVE, f"{text}: no better than no model", "more events or features", **common)
    return Finding(Verdict.PASS, text, **common)


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


@check(GATE, "MP9", "Not inferior to what is there", "difference in Uno's C (label: AUROC)")
def non_inferiority(case: Case) -> Finding:
    """Paired bootstrap against the champion on the test split; without a champion, against the reference model."""
    facts = case.facts
    found = []
    for evidence in case.once(evidence_sets):
        other = _comparator(facts, evidence)
        if other is not None:
            found.append((evidence, _non_inferiority(case, evidence, other)))
    blocked = [finding for _, finding in found if finding.verdict is Verdict.BLOCK]
    passed = [finding for _, finding in found if finding.verdict is Verdict.PASS]
    return (blocked or passed or [found[0][1]])[0]


def _non_inferiority(case: Case, evidence: Evidence, other: Predictions) -> Finding:
    facts, policy = case.facts, case.policy.performance
    name = facts.champion_name or "the champion" if facts.champion_pred is not None else facts.reference_name
    pairs = ConcordancePairs.of(evidence.outcomes, facts.contract.endpoint.horizon_days)
    found, margin = _difference(evidence, pairs, other, policy), policy.non_inferiority_margin
    common: dict[str, Any] = {
        "value": found.estimate,
        "interval": bounds(found),
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "threshold": f"lower bound above -{margin:g}; half-width at most {margin:g}",
        "threshold_source": PerformancePolicy.source("non_inferiority_margin"),
        "details": {"comparator": name, "set": evidence.name, "replicates": found.replicates, "seed": found.seed},
    }
    text = f"{found.estimate:+.3f} ({found.low:+.3f} to {found.high:+.3f}) against {name} on {evidence.name}"
    if found.high < -margin:
        return Finding(Verdict.BLOCK, f"{text}: inferior", f"keep {name}", **common)
    if found.low > 0.0 or (found.half_width <= margin and found.low > -margin):
        return Finding(Verdict.PASS, text, **common)
    if found.half_width > margin:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"{text}: too imprecise to show non-inferiority at {margin:g}",
            "compare both models in shadow: the paired evidence there decides",
            **common,
        )
    return Finding(Verdict.BLOCK, f"{text}: precise, and not shown to be non-inferior", f"keep {name}", **common)


@check(GATE, "MP8", "Every number has its interval", "bootstrap replicates behind the weakest interval")
def uncertainty(case: Case) -> Finding:
    """MP1, MP3, MP5 and MP9 must come with an interval from at least the required number of replicates."""
    policy = case.policy.performance
    judged = [case.results[id] for id in ("MP1", "MP3", "MP5", "MP9") if id in case.results]
    naked = [result.id for result in judged if result.interval is None]
    replicates = [evidence.draws.counts.shape[0] for evidence in case.once(evidence_sets)]
    common: dict[str, Any] = {
        "value": float(min(replicates)),
        "n": len(judged),
        "threshold": f"an interval on each, from >= {policy.bootstrap_replicates} replicates with a stored seed",
        "threshold_source": PerformancePolicy.source("bootstrap_replicates"),
        "details": {"seed": policy.bootstrap_seed, "level": policy.confidence},
    }
    if naked or len(judged) < 4:
        return Finding(
            Verdict.ERROR,
            f"no interval for {', '.join(naked) or 'a missing check'}",
            "see that check's reason",
            **common,
        )
    return Finding(Verdict.PASS, f"patient-clustered bootstrap, seed {policy.bootstrap_seed}", **common)


def _concordance(evidence: Evidence, pairs: ConcordancePairs, risk: np.ndarray, policy: PerformancePolicy) -> Interval:
    values = pairs.replicates(risk, evidence.draws.counts)
    return evidence.draws.interval(pairs.concordance(risk), values, policy.confidence)


def _difference(evidence: Evidence, pairs: ConcordancePairs, other: Predictions, policy: PerformancePolicy) -> Interval:
    """Interval of the candidate's concordance minus the other's, on the same draws of the same patients."""
    risk, counts = evidence.of(other), evidence.draws.counts
    values = pairs.replicates(evidence.risk, counts) - pairs.replicates(risk, counts)
    estimate = pairs.concordance(evidence.risk) - pairs.concordance(risk)
    return evidence.draws.interval(estimate, values, policy.confidence)


def _reference(facts: ReleaseFacts, evidence: Evidence) -> Predictions | None:
    return facts.reference_pred if evidence.frame is facts.test else facts.reference_oof


def _comparator(facts: ReleaseFacts, evidence: Evidence) -> Predictions | None:
    """A champion has seen its training patients, so it is compared on the test split alone."""
    if facts.champion_pred is None:
        return _reference(facts, evidence)
    return facts.champion_pred if evidence.frame is facts.test else None
