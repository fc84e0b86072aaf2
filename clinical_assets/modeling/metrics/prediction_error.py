"""Squared error of predicted probabilities, weighted for censoring (Graf et al. 1999)."""

from __future__ import annotations

import numpy as np

from clinical_assets.modeling.curves import StepCurve, censoring_curve, horizon_labels
from clinical_assets.modeling.outcomes import Outcomes


def brier(outcomes: Outcomes, risk: np.ndarray, horizon: float | None, censoring: StepCurve | None = None) -> float:
    """Brier score of `risk` (n,) at `horizon`; plain mean squared error for binary outcomes."""
    labels = horizon_labels(outcomes, horizon or 0.0, censoring)
    return float(np.mean(labels.weight * (labels.label - risk) ** 2))


def brier_contributions(
    outcomes: Outcomes, survival: np.ndarray, times: np.ndarray, censoring: StepCurve | None = None
) -> np.ndarray:
    """(n, k) weighted squared errors of `survival` (n, k) at `times` (k,); their column means are the Brier scores.

    Raises:
        ValueError: shapes differ, or a time lies outside the follow-up, where G is unknown.
    """
    time = outcomes.times()
    if survival.shape != (len(time), len(times)):
        raise ValueError(f"survival has shape {survival.shape}, expected {(len(time), len(times))}")
    if np.max(times) > time.max():
        raise ValueError(f"time {np.max(times):g} lies beyond the last follow-up at {time.max():g} days")
    curve = censoring if censoring is not None else censoring_curve(outcomes)
    own = np.maximum(curve.before(time), 1e-12)[:, None]
    common = np.maximum(curve.at(times), 1e-12)
    happened = (outcomes.flag[:, None]) & (time[:, None] <= times)
    beyond = time[:, None] > times
    return np.where(happened, survival**2 / own, np.where(beyond, (1.0 - survival) ** 2 / common, 0.0))


def integrate(contributions: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n,) time average of (n, k) contributions by the trapezoidal rule over `times`."""
    return np.trapezoid(contributions, times, axis=1) / (times[-1] - times[0])


def ibs(outcomes: Outcomes, survival: np.ndarray, times: np.ndarray, censoring: StepCurve | None = None) -> float:
    """Integrated Brier score over `times`, divided by their span."""
    return float(integrate(brier_contributions(outcomes, survival, times, censoring), times).mean())


def km_ibs(outcomes: Outcomes, null: StepCurve, times: np.ndarray, censoring: StepCurve | None = None) -> float:
    """Integrated Brier score of the null model that gives everyone the training set's Kaplan-Meier curve `null`."""
    return ibs(outcomes, null_survival(null, outcomes.n, times), times, censoring)


def null_survival(null: StepCurve, n: int, times: np.ndarray) -> np.ndarray:
    """(n, k): the same curve for everyone."""
    return np.broadcast_to(null.at(times), (n, len(times)))
