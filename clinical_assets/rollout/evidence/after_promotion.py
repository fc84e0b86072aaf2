"""Is the promoted model still as good as the one it replaced? Both score every patient, the old one unseen.

From the promotion to the end of the watch each answer by the new model is mirrored to the old one, so that every
patient with an outcome gives a paired loss difference Z, as in shadow. A detector for a change at an unknown moment
looks at them (`detector.py`): under E[Z | past] <= 0 its expectation is all that was put in, one bet for the first
patient and one for each clinical day after that, never more than the days that the stages were planned to last. So
P(ever M >= A) <= (days + 1) / A, whatever the number of looks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.rollout.evidence.bets import FRACTIONS
from clinical_assets.rollout.evidence.detector import EDetector
from clinical_assets.rollout.evidence.onset import Onset

SINCE_PROMOTION = ("100", "watch")
"""Stages in which the promoted model answers everyone and the old one scores beside it."""


@dataclass(frozen=True)
class OutcomeWatch:
    """
    Attributes:
        total: running sum of Z, weighted Brier differences (new model - old model).
        put_in: bets so far. latest: clinical time of the latest patient for whom one was put in.
        onset: when what the detector now holds against the model began.
    """

    detector: EDetector
    total: float = 0.0
    put_in: float = 0.0
    latest: float | None = None
    onset: Onset = field(default_factory=Onset)

    @classmethod
    def start(cls) -> OutcomeWatch:
        return cls(EDetector.start(len(FRACTIONS)))

    @property
    def n(self) -> int:
        return self.detector.n

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    def update(self, z: float, at: float, recorded_at: float, max_weight: float, most: float) -> OutcomeWatch:
        """One mature patient, predicted at `at` (clinical seconds), in the order in which the log is read.

        Args:
            recorded_at: wall time at which the outcome arrived. most: bets that may be put in altogether.

        Raises:
            ValueError: |z| exceeds `max_weight`.
        """
        if abs(z) > max_weight * (1 + 1e-12):
            raise ValueError(f"loss difference {z} exceeds the largest censoring weight {max_weight}")
        days = 1.0 if self.latest is None else max(at - self.latest, 0.0) / SECONDS_PER_DAY
        added = min(days, max(most - self.put_in, 0.0))
        factors = [math.log1p(f * max(z, -max_weight) / max_weight) for f in FRACTIONS]
        detector = self.detector.update(factors, added)
        latest = at if self.latest is None else max(at, self.latest)
        onset = self.onset.update(detector.log_mean, recorded_at)
        return OutcomeWatch(detector, self.total + z, self.put_in + added, latest, onset)

    def to_json(self) -> dict[str, Any]:
        plain = {"total": self.total, "put_in": self.put_in, "latest": self.latest}
        return {"detector": self.detector.to_json(), **plain, "onset": self.onset.to_json()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> OutcomeWatch:
        detector = EDetector.from_json(state["detector"])
        return cls(detector, state["total"], state["put_in"], state["latest"], Onset.from_json(state["onset"]))
