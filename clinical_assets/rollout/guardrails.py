"""The tests that can roll back, each with its null hypothesis, its share of alpha and what it has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.plan import RolloutPlan

NULLS = {
    "paired_harm": "mean weighted Brier difference (challenger - champion) of mirrored patients <= 0",
    "split_harm": "mean weighted Brier difference of randomised patients <= 0",
    "error_ratio": "challenger's service error rate <= champion's in the same interval",
    "error_objective": "challenger's service error rate <= objective",
}
NON_INFERIORITY_NULL = "mean weighted Brier difference of mirrored patients >= margin"


@dataclass(frozen=True)
class Guardrail:
    """One test. `e` is the evidence against its null now, `peak` the most it ever was; it rejects at `threshold`."""

    name: str
    null: str
    e: float
    peak: float
    threshold: float
    n: int
    rejected: bool
    bad_since: float | None

    def to_json(self) -> dict[str, Any]:
        numbers = {"e": _finite(self.e), "peak": _finite(self.peak), "threshold": self.threshold, "n": self.n}
        return {"null": self.null, **numbers, "rejected": self.rejected}


def guardrails(evidence: Evidence, plan: RolloutPlan) -> tuple[Guardrail, ...]:
    """All rollback tests; each family's alpha is split evenly over its tests, none rejects before `min_n`."""
    alpha = plan.policy.alpha
    shares = {"paired_harm": alpha.harm, "split_harm": alpha.harm}
    shares |= {"error_ratio": alpha.service, "error_objective": alpha.service}
    seen = {"error_ratio": evidence.errors.challenger[0], "error_objective": evidence.errors.challenger[0]}
    found = []
    for name, process in evidence.harm_processes().items():
        share, n = shares[name] / 2, seen.get(name, process.n)
        rejected = n >= plan.policy.min_n and process.rejects(share)
        since = evidence.onsets[name].since if rejected else None
        found.append(Guardrail(name, NULLS[name], process.e, process.peak, 1 / share, n, rejected, since))
    return tuple(found)


def statistics(evidence: Evidence, plan: RolloutPlan) -> dict[str, Any]:
    """Every figure a decision rests on, ready for the ledger."""
    proof = evidence.paired.non_inferiority
    lower, upper = evidence.paired.interval.bounds
    return {
        "guardrails": {rail.name: rail.to_json() for rail in guardrails(evidence, plan)},
        "non_inferiority": {
            "null": NON_INFERIORITY_NULL,
            "margin": plan.margin,
            "e": _finite(proof.e),
            "peak": _finite(proof.peak),
            "threshold": 1 / plan.policy.promotion_alpha,
            "n": proof.n,
            "proven": proof.rejects(plan.policy.promotion_alpha),
        },
        "paired_difference": {"mean": evidence.paired.mean, "lower": lower, "upper": upper, "alpha": 0.05},
        "split_difference": {"mean": evidence.split.mean},
        "sample_ratio": {"peak": _finite(evidence.assignment.peak), "n": evidence.assignment.n},
        "overdue_outcomes": evidence.overdue,
        "error_objective": plan.error_objective,
    }


def counts(evidence: Evidence) -> dict[str, int]:
    """n per arm and per kind of evidence."""
    return {
        "champion_requests": evidence.errors.champion[0],
        "champion_errors": evidence.errors.champion[1],
        "challenger_requests": evidence.errors.challenger[0],
        "challenger_errors": evidence.errors.challenger[1],
        "challenger_scored": evidence.outputs.scored,
        "challenger_answered": evidence.outputs.answered,
        "challenger_invalid": evidence.outputs.invalid,
        "pairs_mature": evidence.matured,
        "pairs_with_outcome": evidence.paired.n,
        "split_patients": evidence.assignment.n,
        "split_with_outcome": evidence.split.n,
    }


def _finite(value: float) -> float:
    return min(value, 1e300)
