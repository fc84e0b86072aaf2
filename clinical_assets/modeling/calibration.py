"""Recalibration of predicted risk at the horizon on out-of-fold predictions.

`g(risk) -> intercept + slope * g(risk)` with g the complementary log-log (survival) or logit (binary). How much is
changed is decided by the closed testing procedure of Vergouwe et al. (2017): nothing, the intercept, or both, so that
a small cohort is not recalibrated on noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import chdtrc, expit, logit

from clinical_assets.modeling.curves import StepCurve, horizon_labels
from clinical_assets.modeling.likelihood import BinomialLikelihood, ConvergenceError, maximise
from clinical_assets.modeling.outcomes import Outcomes

_LEVEL = 0.05
_EDGE = 1e-10


@dataclass(frozen=True)
class Recalibration:
    """The two numbers and the link they act on; the default changes nothing."""

    link: Literal["cloglog", "logit"]
    intercept: float = 0.0
    slope: float = 1.0

    @property
    def changes_nothing(self) -> bool:
        return self.intercept == 0.0 and self.slope == 1.0

    def risk(self, risk: np.ndarray) -> np.ndarray:
        """Recalibrated risk at the horizon, same shape."""
        if self.changes_nothing:
            return risk
        return from_link(self.intercept + self.slope * to_link(risk, self.link), self.link)

    def hazard_shift(self, log_hazard_at_horizon: np.ndarray) -> np.ndarray:
        """To add to the log cumulative hazard of each row at every time; same shape.

        The curve keeps its shape, stays monotone, and meets the recalibrated risk at the horizon exactly.
        """
        return self.intercept + (self.slope - 1.0) * np.maximum(log_hazard_at_horizon, np.log(_EDGE))


def to_link(risk: np.ndarray, link: str) -> np.ndarray:
    bounded = np.clip(risk, _EDGE, 1.0 - _EDGE)
    return logit(bounded) if link == "logit" else np.log(-np.log1p(-bounded))


def from_link(values: np.ndarray, link: str) -> np.ndarray:
    return expit(values) if link == "logit" else -np.expm1(-np.exp(values))


def recalibrate(
    risk: np.ndarray, outcomes: Outcomes, horizon: float | None, censoring: StepCurve | None = None
) -> Recalibration:
    """Fit on out-of-fold `risk` (n,) at `horizon`; survival labels are weighted for censoring.

    Where the labels cannot tell (none, all, or separated by the risk), nothing is changed.
    """
    link: Literal["cloglog", "logit"] = "cloglog" if outcomes.kind == "survival" else "logit"
    try:
        return _fitted(risk, outcomes, horizon, censoring, link)
    except ConvergenceError:
        return Recalibration(link)


def _fitted(
    risk: np.ndarray,
    outcomes: Outcomes,
    horizon: float | None,
    censoring: StepCurve | None,
    link: Literal["cloglog", "logit"],
) -> Recalibration:
    labels = horizon_labels(outcomes, horizon or 0.0, censoring)
    known = labels.label[labels.weight > 0]
    if known.all() or not known.any():
        return Recalibration(link)
    linear = to_link(risk, link)
    ones = np.ones_like(linear)
    plain = BinomialLikelihood(ones[:, None], labels.label, labels.weight, linear, link)
    kept = plain(np.zeros(1))[0]
    shift, shifted = maximise(plain, np.zeros(1))
    design = np.column_stack((ones, linear))
    both, full = maximise(
        BinomialLikelihood(design, labels.label, labels.weight, np.zeros_like(linear), link), np.array([0.0, 1.0])
    )
    if chdtrc(2, max(2.0 * (full - kept), 0.0)) > _LEVEL:
        return Recalibration(link)
    if both[1] <= 0.0 or chdtrc(1, max(2.0 * (full - shifted), 0.0)) > _LEVEL:
        return Recalibration(link, float(shift[0]))
    return Recalibration(link, float(both[0]), float(both[1]))
