"""What the patients seen so far say: exact under any drift, and about nobody else. Displayed, never promotes.

Given both scores, `W = w0 + b y` with w0 and b known before the outcome, and
`prod (1 + lam b (y - g)) exp(lam (w0 + b g))` tests "the expected W averaged over the patients so far is <= 0"; g is a
working risk that only changes power (default: the champion's score). Because
`E[(1 + lam b (y - g)) | x] = 1 + lam b (q - g) <= exp(lam b (q - g))`, no assumption on q is needed. A rare subgroup
not yet met is not in the average: as a statement about the population it is wrong up to a third of the time.
Null: Choe and Ramdas, "Comparing sequential forecasters", 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.courses import log1p, multiplied, squared

MULTIPLES = (0.25, 0.5, 1.0)
SMALLEST_FACTOR = 0.05
LARGEST_BET = 30.0


@dataclass(frozen=True)
class ConditionalEvidence:
    """Non-inferiority on the patients seen; `unit` is the bet fixed from scores before the first outcome."""

    unit: float
    non_inferiority: EProcess

    @classmethod
    def start(cls, margin: float, squared_gap: float) -> ConditionalEvidence:
        """
        Args:
            squared_gap: E[4 (p_B - p_A)^2 g (1 - g)] on unlabelled scores, the variance of Z given the scores.
        """
        unit = min(margin / squared_gap, LARGEST_BET) if squared_gap > 0 else LARGEST_BET
        return cls(unit, EProcess.start((1 / 3, 1 / 3, 1 / 3)))

    def update(
        self, challenger: float, champion: float, outcome: int, margin: float, weight: float = 1.0
    ) -> ConditionalEvidence:
        """One mature patient with censoring weight `weight`."""
        # W = margin - weight ((p_B - y)^2 - (p_A - y)^2) = w0 + b y
        w0 = margin - weight * (challenger**2 - champion**2)
        slope = 2 * weight * (challenger - champion)
        factors = [self._log_factor(m * self.unit, w0, slope, champion, outcome) for m in MULTIPLES]
        return ConditionalEvidence(self.unit, self.non_inferiority.multiply(factors))

    def follow(
        self,
        challenger: np.ndarray,
        champion: np.ndarray,
        outcome: np.ndarray,
        margin: float,
        weight: np.ndarray,
    ) -> ConditionalEvidence:
        """The same for n >= 1 patients in a row, all (n,)."""
        w0 = margin - weight * (squared(challenger) - squared(champion))
        slope = 2 * weight * (challenger - champion)
        factors = []
        for bet in (m * self.unit for m in MULTIPLES):
            with np.errstate(divide="ignore", over="ignore"):
                reach = (1 - SMALLEST_FACTOR) / (bet * np.abs(slope))
            g = np.where(slope > 0, np.minimum(champion, reach), np.maximum(champion, 1 - reach))
            factors.append(log1p(bet * slope * (outcome - g)) + bet * (w0 + slope * g))
        return ConditionalEvidence(self.unit, multiplied(self.non_inferiority, factors)[0])

    @staticmethod
    def _log_factor(bet: float, w0: float, slope: float, risk: float, outcome: int) -> float:
        reach = (1 - SMALLEST_FACTOR) / (bet * abs(slope)) if slope else math.inf
        g = min(risk, reach) if slope > 0 else max(risk, 1 - reach)
        return math.log1p(bet * slope * (outcome - g)) + bet * (w0 + slope * g)

    def to_json(self) -> dict[str, Any]:
        return {"unit": self.unit, "non_inferiority": self.non_inferiority.to_json()}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> ConditionalEvidence:
        return cls(state["unit"], EProcess.from_json(state["non_inferiority"]))
