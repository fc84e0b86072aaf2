"""The tests that can roll back, each with its null hypothesis, its share of alpha and what it has seen."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.drift import DriftEvidence
from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.evidence.subgroups import SubgroupEvidence
from clinical_assets.rollout.inputs import Reading, by_count
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.promotion import CONCORDANCE_NULL, CONDITIONAL_NULL, finite, proof

NULLS = {
    "paired_harm": "mean weighted Brier difference (challenger - champion) of mirrored patients <= 0",
    "split_harm": "mean weighted Brier difference of randomised patients <= 0",
    "hazard_harm": "hazard log-score of the challenger over person-time at risk so far >= the champion's",
    "subgroup_harm": "in no group is sensitivity at the operating threshold below the champion's by more than {:g}",
    "score_drift": "the challenger's scores are exchangeable with those of its test split",
    "error_ratio": "challenger's service error rate <= champion's in the same interval",
    "error_objective": "challenger's service error rate <= objective",
    "latency_ratio": "odds of an answer slower than {} ms <= 1.5 times the champion's in the same interval",
    "latency_objective": "challenger's share of answers slower than {} ms <= {:.3g}",
}

PROMOTED_NULL = "mean weighted Brier difference (new - old model) of patients since the promotion <= 0, at every moment"


@dataclass(frozen=True)
class Guardrail:
    """One test. `e` is the evidence against its null now, `peak` the most it ever was; it rejects at `threshold`.

    `rejected` needs an `OK` reading: a test without data, or with too little, neither passes nor fails.
    """

    name: str
    null: str
    e: float
    peak: float
    threshold: float
    n: int
    reading: Reading
    bad_since: float | None = None
    condition: bool = True

    @property
    def rejected(self) -> bool:
        return self.reading is Reading.OK and self.peak >= self.threshold and self.condition

    def to_json(self) -> dict[str, Any]:
        numbers = {"e": finite(self.e), "peak": finite(self.peak), "threshold": self.threshold, "n": self.n}
        return {"null": self.null, **numbers, "reading": self.reading.value, "rejected": self.rejected}


def shares(plan: RolloutPlan) -> dict[str, float]:
    """Each test's share of the rollback alpha; a family's share is split evenly over the tests that this plan runs."""
    alpha = plan.policy.alpha
    harm = ["paired_harm", "split_harm", *(["hazard_harm"] if plan.counts_person_time else [])]
    slow = [f"latency_{kind}_{index}" for index in range(len(plan.latency)) for kind in ("ratio", "objective")]
    families = [(alpha.harm, harm), (alpha.service, ["error_ratio", "error_objective"]), (alpha.latency, slow)]
    if plan.groups:
        families.append((alpha.subgroup, ["subgroup_harm"]))
    if sum(plan.challenger_scores.counts):
        families.append((alpha.drift, ["score_drift"]))
    return {name: share / len(names) for share, names in families for name in names}


def guardrails(evidence: Evidence, plan: RolloutPlan) -> tuple[Guardrail, ...]:
    """All rollback tests of the plan."""
    tests = _tests(evidence)
    found = []
    for name, share in shares(plan).items():
        test, n = tests[name]
        reading = by_count(n, plan.policy.min_n)
        onset = evidence.onsets.get(name)
        since = onset.since if onset is not None and reading is Reading.OK else None
        condition = name != "score_drift" or _own_drift(evidence, plan)
        e, peak = _exp(test.log_e), _exp(test.log_peak)
        found.append(Guardrail(name, _null(name, plan), e, peak, 1 / share, n, reading, since, condition))
    return tuple(found)


def drifted(evidence: Evidence, plan: RolloutPlan) -> bool:
    """Whether the challenger's scores have left their reference, at whatever size: reason to hold."""
    share = shares(plan).get("score_drift")
    drift = evidence.challenger_drift
    return share is not None and drift.n >= plan.policy.min_n and drift.rejects(share)


def both_bad(evidence: Evidence, plan: RolloutPlan) -> bool:
    """Whether champion and challenger both miss the error objective, so that the way back is no cure."""
    share = shares(plan)["error_objective"]
    errors, minimum = evidence.service.errors, plan.policy.min_n
    seen = min(errors.champion[0], errors.challenger[0]) >= minimum
    return seen and errors.champion_objective.rejects(share) and errors.objective.rejects(share)


def watch_limit(plan: RolloutPlan) -> float:
    """The detector's alarm: one bet a day over the watch, false alarms within `watch_alpha` altogether."""
    return (plan.policy.watch_days + 1) / plan.policy.watch_alpha


def outcome_watch_limit(plan: RolloutPlan) -> float:
    """The same for prediction errors, since the promotion."""
    return plan.bets_since_promotion / plan.policy.watch_outcome_alpha


def _tests(evidence: Evidence) -> Mapping[str, tuple[EProcess | DriftEvidence | SubgroupEvidence, int]]:
    paired, errors = evidence.paired.harm, evidence.service.errors
    requests = errors.challenger[0]
    tests: dict[str, tuple[EProcess | DriftEvidence | SubgroupEvidence, int]] = {
        "paired_harm": (paired, paired.n),
        "split_harm": (evidence.split.harm, evidence.split.n),
        "hazard_harm": (evidence.hazard.harm, evidence.hazard.harm.n),
        "subgroup_harm": (evidence.companions.subgroups, evidence.companions.subgroups.n),
        "score_drift": (evidence.challenger_drift, evidence.challenger_drift.n),
        "error_ratio": (errors.ratio, requests),
        "error_objective": (errors.objective, requests),
    }
    for index, test in enumerate(evidence.service.latency):
        tests[f"latency_ratio_{index}"] = (test.ratio, test.requests)
        tests[f"latency_objective_{index}"] = (test.objective, test.requests)
    return tests


def _null(name: str, plan: RolloutPlan) -> str:
    if name == "subgroup_harm":
        return NULLS[name].format(plan.policy.subgroup_margin)
    if not name.startswith("latency"):
        return NULLS[name]
    kind, _, index = name.rpartition("_")
    limit = plan.latency[int(index)]
    return NULLS[kind].format(f"{limit.above_ms:g}", limit.objective)


def _own_drift(evidence: Evidence, plan: RolloutPlan) -> bool:
    """A shift that is large, and that the champion's scores of the same patients do not show."""
    index = evidence.challenger_drift.stability_index(plan.challenger_scores)
    quiet = not evidence.champion_drift.rejects(plan.policy.alpha.drift)
    return index is not None and index >= plan.policy.psi_rollback and quiet


def statistics(evidence: Evidence, plan: RolloutPlan) -> dict[str, Any]:
    """Every figure a decision rests on, ready for the ledger."""
    lower, upper = evidence.paired.interval.bounds
    split_lower, split_upper = evidence.split.interval.bounds
    companions = evidence.companions
    seen, ranking = companions.conditional.non_inferiority, companions.concordance
    return {
        "guardrails": {rail.name: rail.to_json() for rail in guardrails(evidence, plan)},
        "non_inferiority": {"margin": plan.margin, **proof(evidence, plan).to_json()},
        "paired_difference": {"mean": evidence.paired.mean, "lower": lower, "upper": upper, "alpha": 0.05},
        "split_difference": {"mean": evidence.split.mean, "lower": split_lower, "upper": split_upper, "alpha": 0.05},
        "patients_seen": {"null": CONDITIONAL_NULL, "e": finite(seen.e), "n": seen.n},
        "auroc_difference": {
            "null": CONCORDANCE_NULL,
            "mean": ranking.mean,
            "e": finite(ranking.non_inferiority.e),
            "blocks": ranking.non_inferiority.n,
        },
        "subgroup": companions.subgroups.worst,
        "score_drift": {
            "psi": evidence.challenger_drift.stability_index(plan.challenger_scores),
            "champion_psi": evidence.champion_drift.stability_index(plan.champion_scores),
            "champion_e": finite(_exp(evidence.champion_drift.log_e)),
        },
        "watch": {"m": finite(_exp(evidence.service.watch.log_mean)), "alarm": watch_limit(plan)},
        **_outcomes_since_promotion(evidence, plan),
        "sample_ratio": {"peak": finite(evidence.assignment.peak), "n": evidence.assignment.n},
        "overdue_outcomes": evidence.overdue,
        "error_objective": plan.error_objective,
    }


def _outcomes_since_promotion(evidence: Evidence, plan: RolloutPlan) -> dict[str, Any]:
    seen = evidence.promoted
    if not seen.n:
        return {}
    m = finite(_exp(seen.detector.log_mean))
    found = {"null": PROMOTED_NULL, "m": m, "alarm": outcome_watch_limit(plan), "n": seen.n, "mean": seen.mean}
    return {"watch_outcomes": found}


def counts(evidence: Evidence) -> dict[str, int]:
    """n per arm and per kind of evidence."""
    errors = evidence.service.errors
    return {
        "champion_requests": errors.champion[0],
        "champion_errors": errors.champion[1],
        "challenger_requests": errors.challenger[0],
        "challenger_errors": errors.challenger[1],
        "challenger_scored": evidence.outputs.scored,
        "challenger_answered": evidence.outputs.answered,
        "challenger_invalid": evidence.outputs.invalid,
        "pairs_mature": evidence.matured,
        "pairs_with_outcome": evidence.paired.n,
        "split_patients": evidence.assignment.n,
        "split_with_outcome": evidence.split.n,
    }


def _exp(log: float) -> float:
    return math.exp(log) if log < 690.0 else math.inf
