"""Each patient is answered by one model: test of harm from the randomised split, weighted by the logged propensity.

`Z = w (l - c) (1{B}/pi - 1{A}/(1 - pi))` has mean E[l_B - l_A] for any c that does not depend on the arm, because pi is
logged and the arm is a keyed hash of the patient. With both scores at hand c is the augmentation of Robins, Rotnitzky
and Zhao (AIPW), which removes variance; with the own score only, a constant fixed at the opening (IPW).
Bets depend on pi and the past, never on the patient's scores, which would test another null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.courses import Course, log1p, multiplied, running, squared
from clinical_assets.rollout.evidence.intervals import GridInterval

KAPPAS = (0.24, 0.48, 0.96)
"""Bets in units of pi (1 - pi) / w_max, fixed before the first label."""

GRID_STEP = 5.0
"""Unit of the interval's grid in margins: one answer per patient tells an order less than both."""

Arm = Literal["champion", "challenger"]


def augmentation(challenger: float, champion: float, propensity: float, working_risk: float | None = None) -> float:
    """Expected loss under a working risk g (default: the champion's score), mixed over the arms to cut variance."""
    g = champion if working_risk is None else working_risk
    loss_a = champion**2 + g * (1 - 2 * champion)
    loss_b = challenger**2 + g * (1 - 2 * challenger)
    return (1 - propensity) * loss_b + propensity * loss_a


def split_difference(arm: Arm, loss: float, propensity: float, centre: float, weight: float = 1.0) -> float:
    """One patient's unbiased contribution to E[l_B - l_A].

    Args:
        loss: squared error of the score that the patient was given, in [0, 1].
        propensity: chance of the challenger arm when the patient was assigned, strictly between 0 and 1.
        centre: c in [0, 1]. weight: inverse-censoring weight.

    Raises:
        ValueError: propensity 0 or 1, where the arm was not randomised.
    """
    if not 0 < propensity < 1:
        raise _not_randomised(propensity)
    sign = 1 / propensity if arm == "challenger" else -1 / (1 - propensity)
    return weight * (loss - centre) * sign


def augmentations(challenger: np.ndarray, champion: np.ndarray, propensity: np.ndarray) -> np.ndarray:
    """`augmentation` with its default working risk, of n patients, all (n,)."""
    loss_a = squared(champion) + champion * (1 - 2 * champion)
    loss_b = squared(challenger) + champion * (1 - 2 * challenger)
    return (1 - propensity) * loss_b + propensity * loss_a


def split_differences(
    challenger: np.ndarray, loss: np.ndarray, propensity: np.ndarray, centre: Any, weight: np.ndarray
) -> np.ndarray:
    """`split_difference` of n patients, all (n,); `challenger` says who got its answer. Raises as it does."""
    randomised = (propensity > 0) & (propensity < 1)
    if not randomised.all():
        raise _not_randomised(float(propensity[int(np.argmin(randomised))]))
    return weight * (loss - centre) * np.where(challenger, 1 / propensity, -1 / (1 - propensity))


def _not_randomised(propensity: float) -> ValueError:
    return ValueError(f"propensity {propensity}: only a randomised assignment is evidence")


@dataclass(frozen=True)
class SplitEvidence:
    """State of the harm test in the split; `interval` is a confidence sequence for the mean difference."""

    harm: EProcess
    interval: GridInterval
    total: float = 0.0

    @classmethod
    def start(cls, margin: float) -> SplitEvidence:
        return cls(EProcess.start((1 / 3, 1 / 3, 1 / 3)), GridInterval.start(GRID_STEP * margin))

    @property
    def n(self) -> int:
        return self.harm.n

    @property
    def mean(self) -> float | None:
        return self.total / self.n if self.n else None

    def update(self, z: float, propensity: float, max_weight: float = 1.0) -> SplitEvidence:
        """One mature patient. Since |loss - c| <= 1, every factor stays above 1 - kappa > 0."""
        unit = propensity * (1 - propensity) / max_weight
        harm = self.harm.multiply(tuple(math.log1p(k * unit * z) for k in KAPPAS))
        bound = max_weight / min(propensity, 1 - propensity)
        return SplitEvidence(harm, self.interval.update(z, -bound, bound), self.total + z)

    def follow(self, z: np.ndarray, propensity: np.ndarray, max_weight: float = 1.0) -> tuple[SplitEvidence, Course]:
        """The same for n >= 1 patients in a row, and log E after each."""
        unit = propensity * (1 - propensity) / max_weight
        harm, course = multiplied(self.harm, [log1p(k * unit * z) for k in KAPPAS])
        bound = max_weight / np.minimum(propensity, 1 - propensity)
        return SplitEvidence(harm, self.interval.follow(z, -bound, bound), float(running(self.total, z)[-1])), course

    def to_json(self) -> dict[str, Any]:
        return {"harm": self.harm.to_json(), "interval": self.interval.to_json(), "total": self.total}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> SplitEvidence:
        return cls(EProcess.from_json(state["harm"]), GridInterval.from_json(state["interval"]), state["total"])
