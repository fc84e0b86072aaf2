"""Which patients a model's pictures are drawn from: those of one set whom the model had not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clinical_assets.gates.performance.evidence import OUT_OF_FOLD, TEST, aligned, events_by_horizon
from clinical_assets.modeling.outcomes import Outcomes

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.gates.facts import ReleaseFacts
    from clinical_assets.gates.policy import GatePolicy

WORDS = {
    TEST: "patients kept aside from the start, whom the model had never seen",
    OUT_OF_FOLD: "patients, each predicted by a model that was fitted without them (cross-validation)",
}


@dataclass(frozen=True)
class Unseen:
    """`risk` (n,) is in the order of `outcomes` and `frame`; `events` counts those by the horizon."""

    name: str
    frame: pd.DataFrame
    outcomes: Outcomes
    risk: np.ndarray
    events: int
    horizon: float | None
    threshold: float

    @property
    def words(self) -> str:
        return WORDS[self.name]


def unseen_patients(facts: ReleaseFacts, policy: GatePolicy) -> Unseen:
    """The test split where it holds enough events to carry a claim, else the larger, nested out-of-fold set."""
    endpoint = facts.contract.endpoint
    candidates = [(TEST, facts.test, facts.test_pred)]
    if facts.oof is not None and facts.oof.nested:
        candidates.append((OUT_OF_FOLD, facts.train, facts.oof))
    sets = []
    for name, frame, predictions in candidates:
        outcomes = Outcomes.from_frame(frame, endpoint)
        events = events_by_horizon(facts, outcomes)
        risk = aligned(frame, predictions).risk
        sets.append(Unseen(name, frame, outcomes, risk, events, endpoint.horizon_days, endpoint.decision_threshold))
    if sets[0].events >= policy.performance.min_test_events:
        return sets[0]
    return max(sets, key=lambda found: found.events)
