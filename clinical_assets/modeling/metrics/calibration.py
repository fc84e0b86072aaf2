"""Does predicted risk agree with what happened: at the horizon, and over the whole distribution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from clinical_assets.modeling.calibration import to_link
from clinical_assets.modeling.curves import StepCurve, horizon_labels
from clinical_assets.modeling.likelihood import BinomialLikelihood, maximise
from clinical_assets.modeling.metrics.smooth import observed_risk, overall_risk
from clinical_assets.modeling.outcomes import Outcomes


@dataclass(frozen=True)
class HorizonCalibration:
    """`oe` observed / expected; `citl` intercept at slope 1 and `slope` on the link scale (ideal 0 and 1);
    `ici`, `e50`, `e90` mean, median and 90th percentile of |predicted - smoothed observed| risk."""

    observed: float
    expected: float
    oe: float
    citl: float
    slope: float
    ici: float
    e50: float
    e90: float
    smoothed: np.ndarray


def calibration_at_horizon(
    outcomes: Outcomes, risk: np.ndarray, horizon: float | None, censoring: StepCurve | None = None
) -> HorizonCalibration:
    """All measures at `horizon`: Kaplan-Meier for the observed risk, 1/G weights for intercept and slope.

    Raises:
        ValueError: no event, or expected risk 0.
        ConvergenceError: predictions separate the outcomes, so that no slope exists.
    """
    expected = float(np.mean(risk))
    if expected <= 0.0:
        raise ValueError("mean predicted risk is 0: observed / expected has no meaning")
    observed = overall_risk(outcomes, horizon)
    citl, slope = calibration_line(outcomes, risk, horizon, censoring)
    smoothed = observed_risk(outcomes, risk, horizon)
    error = np.abs(smoothed - risk)
    return HorizonCalibration(
        observed=observed,
        expected=expected,
        oe=observed / expected,
        citl=citl,
        slope=slope,
        ici=float(error.mean()),
        e50=float(np.median(error)),
        e90=float(np.quantile(error, 0.9)),
        smoothed=smoothed,
    )


def calibration_line(
    outcomes: Outcomes, risk: np.ndarray, horizon: float | None, censoring: StepCurve | None = None
) -> tuple[float, float]:
    """Calibration-in-the-large and slope on the complementary log-log (survival) or logit (binary) scale."""
    link = "cloglog" if outcomes.kind == "survival" else "logit"
    labels = horizon_labels(outcomes, horizon or 0.0, censoring)
    linear = to_link(risk, link)
    ones = np.ones_like(linear)
    shift, _ = maximise(BinomialLikelihood(ones[:, None], labels.label, labels.weight, linear, link), np.zeros(1))
    if np.ptp(linear) < 1e-12:
        return float(shift[0]), float("nan")
    design = np.column_stack((ones, linear))
    both, _ = maximise(BinomialLikelihood(design, labels.label, labels.weight, 0.0 * ones, link), np.array([0.0, 1.0]))
    return float(shift[0]), float(both[1])


def slope_error(outcomes: Outcomes, risk: np.ndarray, slope: float, horizon: float | None) -> float:
    """Standard error of the calibration slope by the sandwich variance (White 1982), weights taken as fixed.

    NaN where the labels do not determine a slope: none or all of them positive, or separated by the risk.
    """
    survival = outcomes.kind == "survival"
    labels = horizon_labels(outcomes, horizon or 0.0)
    linear = to_link(risk, "cloglog" if survival else "logit")
    if not np.isfinite(slope):
        return float("nan")
    try:
        intercept = _intercept(linear, slope, labels.label, labels.weight, survival)
    except ValueError:  # no change of sign: the score equation has no root
        return float("nan")
    eta = intercept + slope * linear
    mean, gradient = _mean(eta, survival)
    variance = np.maximum(mean * (1.0 - mean), 1e-12)
    design = np.column_stack((np.ones_like(linear), linear))
    score = design * (labels.weight * (labels.label - mean) * gradient / variance)[:, None]
    bread = np.linalg.inv((design * (labels.weight * gradient**2 / variance)[:, None]).T @ design)
    return float(np.sqrt((bread @ (score.T @ score) @ bread)[1, 1]))


def _mean(eta: np.ndarray, survival: bool) -> tuple[np.ndarray, np.ndarray]:
    """Probability and its derivative by the linear predictor."""
    if survival:
        hazard = np.exp(np.clip(eta, -30.0, 5.0))
        return -np.expm1(-hazard), hazard * np.exp(-hazard)
    mean = 1.0 / (1.0 + np.exp(-eta))
    return mean, mean * (1.0 - mean)


def _intercept(linear: np.ndarray, slope: float, label: np.ndarray, weight: np.ndarray, survival: bool) -> float:
    """The intercept that goes with `slope`: weighted observed equals weighted expected score."""
    from scipy.optimize import brentq

    def balance(intercept: float) -> float:
        mean, gradient = _mean(intercept + slope * linear, survival)
        return float(np.sum(weight * (label - mean) * gradient / np.maximum(mean * (1.0 - mean), 1e-12)))

    return float(brentq(balance, -30.0, 30.0))


@dataclass(frozen=True)
class DCalibration:
    """Chi-square test that S(T) is uniform; `histogram` counts subjects per bucket, from S = 1 down to 0."""

    statistic: float
    p_value: float
    histogram: np.ndarray


def dcalibration(outcomes: Outcomes, survival: np.ndarray, times: np.ndarray, buckets: int = 10) -> DCalibration:
    """Distributional calibration (Haider et al. 2020) of the curves `survival` (n, k) at increasing `times` (k,).

    Curves start at 1 and are read linearly between `times`; follow-up beyond the last time is cut there, so that only
    the predicted part of the curve is judged. A censored subject is spread over the buckets still open to it.
    """
    event = outcomes.flag & (outcomes.times() <= times[-1])
    own = np.minimum(outcomes.times(), times[-1])
    reached = survival_at(survival, times, own)
    bucket = np.minimum(((1.0 - reached) * buckets).astype(int), buckets - 1)
    lower = 1.0 - (bucket + 1) / buckets
    histogram = np.bincount(bucket[event], minlength=buckets).astype(np.float64)
    safe = np.maximum(reached, 1e-12)
    first = np.where(reached > 1e-12, (reached - lower) / safe, 1.0)[~event]
    rest = np.where(reached > 1e-12, 1.0 / (buckets * safe), 0.0)[~event]
    histogram += np.bincount(bucket[~event], weights=first, minlength=buckets)
    opened = np.bincount(bucket[~event], weights=rest, minlength=buckets)
    histogram[1:] += np.cumsum(opened)[:-1]
    mean = outcomes.n / buckets
    statistic = float(np.sum((histogram - mean) ** 2 / mean))
    return DCalibration(statistic, float(chdtrc(buckets - 1, statistic)), histogram)


def survival_at(survival: np.ndarray, times: np.ndarray, own: np.ndarray) -> np.ndarray:
    """(n,) each subject's curve at its `own` time, linear between `times`, 1 at time 0."""
    grid = np.concatenate(([0.0], times))
    curves = np.column_stack((np.ones(len(survival)), survival))
    right = np.clip(np.searchsorted(grid, own, side="left"), 1, len(grid) - 1)
    left = right - 1
    share = np.clip((own - grid[left]) / (grid[right] - grid[left]), 0.0, 1.0)
    rows = np.arange(len(own))
    return curves[rows, left] * (1.0 - share) + curves[rows, right] * share
