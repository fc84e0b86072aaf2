"""The proof of non-inferiority that lets a challenger leave shadow, by the test that the policy names."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.inputs import Reading, by_count
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import POOL_ALPHA

BOUNDED_NULL = "mean weighted Brier difference of mirrored patients >= margin"
WINSORISED_NULL = f"{BOUNDED_NULL}, in the population from which both pool and stream were drawn"
HAZARD_NULL = "hazard log-score lost against the champion over person-time at risk so far >= margin per expected event"
CONDITIONAL_NULL = "expected Brier difference averaged over the patients seen so far >= margin (display only)"
CONCORDANCE_NULL = "AUROC of the champion - AUROC of the challenger >= margin (display only)"


@dataclass(frozen=True)
class Proof:
    """State of the promotion test. `missing` says what else it needs, "" if nothing."""

    test: str
    null: str
    e: float
    threshold: float
    n: int
    proven: bool
    reading: Reading
    missing: str = ""

    def to_json(self) -> dict[str, Any]:
        numbers = {"e": finite(self.e), "threshold": self.threshold, "n": self.n}
        said = {"proven": self.proven, "reading": self.reading.value, "missing": self.missing}
        return {"test": self.test, "null": self.null, **numbers, **said}


def proof(evidence: Evidence, plan: RolloutPlan) -> Proof:
    """How far non-inferiority is proven. The cut-off test without a pool that was large enough is the bounded one."""
    policy = plan.policy
    alpha = policy.promotion_alpha
    if policy.promotion_test == "hazard":
        test, events = evidence.hazard.non_inferiority, sum(evidence.hazard.events)
        reading = by_count(events, policy.min_band_events)
        covered = evidence.hazard.covers_follow_up(policy.min_band_events)
        missing = "" if covered else f"{min(evidence.hazard.events)} events in the scarcest follow-up band"
        proven = covered and reading is Reading.OK and test.rejects(alpha)
        return Proof("hazard", HAZARD_NULL, test.e, 1 / alpha, events, proven, reading, missing)
    n = evidence.paired.n
    reading = by_count(n, policy.min_shadow_pairs)
    winsorised = evidence.companions.winsorised
    if winsorised is not None:
        proven = reading is Reading.OK and winsorised.proves(alpha)
        e = math.exp(min(winsorised.log_e, 700.0))
        return Proof("winsorised", WINSORISED_NULL, e, 1 / (alpha - POOL_ALPHA), n, proven, reading)
    test = evidence.paired.non_inferiority
    proven = reading is Reading.OK and test.rejects(alpha)
    return Proof("bounded", BOUNDED_NULL, test.e, 1 / alpha, n, proven, reading)


def finite(value: float) -> float:
    """JSON knows no infinity."""
    return min(value, 1e300)
