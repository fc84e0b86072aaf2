"""MP1 and MP2: does the model rank patients, over all follow-up up to the horizon and at declared times?"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit, logit

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.performance.evidence import TEST, Evidence, bounds, combined, judged_sets
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import Estimate, evidence_below, pooled
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.bootstrap import Interval
from clinical_assets.modeling.metrics.discrimination import harrell_c
from clinical_assets.modeling.metrics.pairs import ConcordancePairs

GATE = GateName.PERFORMANCE
MORE = "more events"
_EDGE = 1e-3


@check(GATE, "MP1", "Discrimination", "Uno's C at the horizon (label: AUROC)")
def discrimination(case: Case) -> Finding:
    """Interval against chance (or the declared floor), and paired difference to the reference model."""
    facts, policy = case.facts, case.policy.performance
    found: list[tuple[Evidence, Finding]] = []
    ranks: list[Estimate] = []
    gains: list[Estimate] = []
    for evidence in case.once(judged_sets):
        pairs = case.once(all_pairs)[evidence.name]
        own = concordance(evidence, pairs, evidence.risk, policy)
        other = reference_of(facts, evidence)
        gain = None if other is None else difference(evidence, pairs, other, policy)
        found.append((evidence, _ranking(case, evidence, own, gain)))
        ranks.append(on_logit(evidence, own))
        gains += [] if gain is None else [plain(evidence, gain)]
    ranks, gains = pooled(ranks), pooled(gains)
    looks = len(ranks) + len(gains)
    floor = float(logit(policy.discrimination_floor))
    below = evidence_below(ranks, floor, floor, policy.block_confidence, looks)
    worse = evidence_below(gains, 0.0, -policy.non_inferiority_margin, policy.block_confidence, looks)
    if below is not None:
        against = f"{expit(below.value):.3f} on {below.name} ranks below the floor"
        return combined(case, found, against, "check the sign and the features")
    if worse is not None:
        against = f"worse than {facts.reference_name} by {-worse.value:.3f} on {worse.name}"
        return combined(case, found, against, f"deploy {facts.reference_name} instead, or search again")
    return combined(case, found)


@dataclass(frozen=True)
class SharedPairs(ConcordancePairs):
    """Pairs of one set that several checks ask about: the replicates of the same risks are made once."""

    made: dict[bytes, np.ndarray] = field(default_factory=dict)

    def replicates(self, risk: np.ndarray, counts: np.ndarray) -> np.ndarray:
        key = np.asarray(risk).tobytes()
        if key not in self.made:
            self.made[key] = super().replicates(risk, counts)
        return self.made[key]


def all_pairs(case: Case) -> dict[str, SharedPairs]:
    """The comparable pairs of each set, up to the horizon; to be asked with the set's own draws."""
    horizon = case.facts.contract.endpoint.horizon_days
    pairs = {one.name: ConcordancePairs.of(one.outcomes, horizon) for one in case.once(judged_sets)}
    return {name: SharedPairs(one.cases, one.comparable) for name, one in pairs.items()}


def _ranking(case: Case, evidence: Evidence, own: Interval, gain: Interval | None) -> Finding:
    facts, policy = case.facts, case.policy.performance
    details: dict[str, object] = {"replicates": own.replicates, "seed": own.seed}
    if evidence.outcomes.kind == "survival":
        details["harrell_c"] = harrell_c(evidence.outcomes, evidence.risk)
    if gain is not None:
        details["gain_over_reference"] = [gain.estimate, gain.low, gain.high]
    common: dict[str, Any] = {
        "value": own.estimate,
        "interval": bounds(own),
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "threshold": f"interval above {policy.discrimination_floor:g}; not below {facts.reference_name}",
        "threshold_source": PerformancePolicy.source("discrimination_floor"),
        "details": details,
    }
    text = f"{own.estimate:.3f} ({own.low:.3f} to {own.high:.3f}) on {evidence.name}"
    if own.low < policy.discrimination_floor:
        reason = f"{text} cannot be told from {policy.discrimination_floor:g}"
        return Finding(Verdict.INCONCLUSIVE, reason, MORE, **common)
    if gain is not None and gain.high < 0.0:
        reason = f"{text}, {-gain.estimate:.3f} less than {facts.reference_name}"
        return Finding(Verdict.WARN, reason, f"consider {facts.reference_name}", **common)
    return Finding(Verdict.PASS, text, **common)


@check(GATE, "MP2", "Discrimination at declared times", "cumulative/dynamic AUC at the horizon")
def time_dependent_auc(case: Case) -> Finding:
    """Uno et al. (2007), weights 1/G(T-) on the cases; the declared horizon decides, earlier times can only block."""
    facts, policy = case.facts, case.policy.performance
    horizon = facts.contract.endpoint.horizon_days
    common: dict[str, Any] = {
        "n": len(facts.test),
        "threshold": f"interval above {policy.discrimination_floor:g}",
        "threshold_source": PerformancePolicy.source("discrimination_floor"),
    }
    if horizon is None:
        return Finding(Verdict.PASS, "does not apply: the endpoint is a label, without times (see MP7)", **common)
    times = sorted({share * horizon for share in policy.auc_horizons} | {horizon})
    found: list[tuple[Evidence, Finding]] = []
    ranks: dict[float, list[Estimate]] = {time: [] for time in times}
    for evidence in case.once(judged_sets):
        curve = {time: auc for time in times if (auc := _auc(evidence, time, policy)) is not None}
        for time, auc in curve.items():
            ranks[time].append(on_logit(evidence, auc, f"{evidence.name} at day {time:g}"))
        if horizon in curve:
            found.append((evidence, _at_horizon(evidence, curve, horizon, common, policy.discrimination_floor)))
    joint = [one for at_time in ranks.values() for one in pooled(at_time)]
    floor = float(logit(policy.discrimination_floor))
    below = evidence_below(joint, floor, floor, policy.block_confidence, len(joint))
    against = "" if below is None else f"AUC {expit(below.value):.3f} on {below.name} ranks below the floor"
    return combined(case, found, against, "check the sign and the features")


def _auc(evidence: Evidence, time: float, policy: PerformancePolicy) -> Interval | None:
    """None where fewer than the least number of patients had the event by `time`, or are still followed then."""
    followed, flag = evidence.outcomes.times(), evidence.outcomes.flag
    if min((flag & (followed <= time)).sum(), (followed > time).sum()) < policy.min_events_to_estimate:
        return None
    return concordance(evidence, ConcordancePairs.at_time(evidence.outcomes, time), evidence.risk, policy)


def _at_horizon(
    evidence: Evidence, curve: dict[float, Interval], horizon: float, common: dict[str, Any], floor: float
) -> Finding:
    auc = curve[horizon]
    given = common | {
        "value": auc.estimate,
        "interval": bounds(auc),
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "details": {
            "auc": {f"day {time:g}": [one.estimate, one.low, one.high] for time, one in curve.items()},
            "replicates": auc.replicates, "seed": auc.seed,
        },
    }  # fmt: skip
    text = f"AUC {auc.estimate:.3f} ({auc.low:.3f} to {auc.high:.3f}) at day {horizon:g} on {evidence.name}"
    if auc.low < floor:
        return Finding(Verdict.INCONCLUSIVE, f"{text} cannot be told from {floor:g}", MORE, **given)
    return Finding(Verdict.PASS, text, **given)


def concordance(evidence: Evidence, pairs: ConcordancePairs, risk: np.ndarray, policy: PerformancePolicy) -> Interval:
    values = pairs.replicates(risk, evidence.draws.counts)
    return evidence.draws.interval(pairs.concordance(risk), values, policy.confidence)


def difference(
    evidence: Evidence, pairs: ConcordancePairs, other: Predictions, policy: PerformancePolicy, level: float = 0.0
) -> Interval:
    """Interval of the candidate's concordance minus the other's, on the same draws of the same patients."""
    risk, counts = evidence.of(other), evidence.draws.counts
    values = pairs.replicates(evidence.risk, counts) - pairs.replicates(risk, counts)
    estimate = pairs.concordance(evidence.risk) - pairs.concordance(risk)
    return evidence.draws.interval(estimate, values, level or policy.confidence)


def on_logit(evidence: Evidence, found: Interval, name: str = "") -> Estimate:
    """A concordance on the logit scale, on which its distribution is nearly normal."""
    value = float(np.clip(found.estimate, _EDGE, 1.0 - _EDGE))
    error = found.standard_error / (value * (1.0 - value))
    return Estimate(name or evidence.name, float(logit(value)), error, evidence.events)


def plain(evidence: Evidence, found: Interval) -> Estimate:
    return Estimate(evidence.name, found.estimate, found.standard_error, evidence.events)


def reference_of(facts: ReleaseFacts, evidence: Evidence) -> Predictions | None:
    return facts.reference_pred if evidence.name == TEST else facts.reference_oof
