"""Both models score every patient and nobody sees the challenger: paired test of harm and of non-inferiority.

`Z = w ((p_B - y)^2 - (p_A - y)^2)` is the weighted Brier difference of challenger B and champion A, w in [0, w_max]
the inverse-censoring weight. Harm tests `E[Z] <= 0`, non-inferiority `E[Z] >= margin`. The bet's cap uses the range
that the weights really allow. Both nulls are about the population, at any stopping time, with no further assumption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import EProcess, bet, bounded_mean
from clinical_assets.rollout.evidence.courses import Course, bets, multiplied, running, squared
from clinical_assets.rollout.evidence.intervals import GridInterval


def loss_difference(challenger: float, champion: float, outcome: int, weight: float = 1.0) -> float:
    """Weighted Brier difference; positive when the challenger is worse."""
    return weight * ((challenger - outcome) ** 2 - (champion - outcome) ** 2)


def loss_differences(
    challenger: np.ndarray, champion: np.ndarray, outcome: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """The same for n patients, all (n,)."""
    return weight * (squared(challenger - outcome) - squared(champion - outcome))


@dataclass(frozen=True)
class PairedEvidence:
    """State of the paired tests; `total` is the running sum of Z, `interval` a confidence sequence for its mean."""

    harm: EProcess
    non_inferiority: EProcess
    interval: GridInterval
    total: float = 0.0

    @classmethod
    def start(cls, margin: float) -> PairedEvidence:
        return cls(bounded_mean(), bounded_mean(), GridInterval.start(margin))

    @property
    def n(self) -> int:
        return self.harm.n

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    def update(self, z: float, margin: float, max_weight: float = 1.0) -> PairedEvidence:
        """One mature patient. `max_weight` is the largest weight that could have occurred.

        Raises:
            ValueError: |z| exceeds `max_weight`, or the margin is not within (0, max_weight).
        """
        return PairedEvidence(
            bet(self.harm, z, -max_weight),
            bet(self.non_inferiority, margin - z, margin - max_weight),
            self.interval.update(z, -max_weight, max_weight),
            self.total + z,
        )

    def follow(self, z: np.ndarray, margin: float, max_weight: float = 1.0) -> tuple[PairedEvidence, Course]:
        """The same for n >= 1 patients in a row, and log E of harm after each."""
        harm, course = multiplied(self.harm, bets(z, -max_weight))
        proof, _ = multiplied(self.non_inferiority, bets(margin - z, margin - max_weight))
        bound = np.full(len(z), max_weight)
        interval = self.interval.follow(z, -bound, bound)
        return PairedEvidence(harm, proof, interval, float(running(self.total, z)[-1])), course

    def to_json(self) -> dict[str, Any]:
        tests = {"harm": self.harm.to_json(), "non_inferiority": self.non_inferiority.to_json()}
        return {**tests, "interval": self.interval.to_json(), "total": self.total}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> PairedEvidence:
        return cls(
            EProcess.from_json(state["harm"]),
            EProcess.from_json(state["non_inferiority"]),
            GridInterval.from_json(state["interval"]),
            state["total"],
        )
