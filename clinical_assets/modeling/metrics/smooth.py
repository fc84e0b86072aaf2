"""Smooth calibration curves: observed risk as a restricted cubic spline of predicted risk (Austin et al. 2020)."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from clinical_assets.modeling.calibration import to_link
from clinical_assets.modeling.curves import breslow_hazard, kaplan_meier
from clinical_assets.modeling.likelihood import BinomialLikelihood, CoxLikelihood, maximise
from clinical_assets.modeling.outcomes import Outcomes

_KNOTS = np.array([0.1, 0.5, 0.9])


def restricted_cubic_spline(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """(n, len(knots) - 1) truncated-power basis, linear beyond the outer knots (Harrell, RMS, section 2.4.5)."""
    last, before = knots[-1], knots[-2]
    span = (last - knots[0]) ** 2

    def cubed(knot: float) -> np.ndarray:
        return np.maximum(values - knot, 0.0) ** 3

    def bend(knot: float) -> np.ndarray:
        inner, outer = (last - knot) / (last - before), (before - knot) / (last - before)
        return (cubed(knot) - cubed(before) * inner + cubed(last) * outer) / span

    return np.column_stack([values, *(bend(knot) for knot in knots[:-2])])


def observed_risk(outcomes: Outcomes, risk: np.ndarray, horizon: float | None) -> np.ndarray:
    """(n,) smoothed observed risk at each subject's predicted `risk`.

    Survival: Cox regression on a 3-knot spline of the complementary log-log risk, over all follow-up, read at
    `horizon`. Binary: logistic regression on a spline of the logit. Constant predictions get the overall estimate;
    where the knots coincide, a line stands in for the spline.
    """
    if np.ptp(risk) < 1e-12:
        return np.full(len(risk), overall_risk(outcomes, horizon))
    survival = outcomes.kind == "survival"
    linear = to_link(risk, "cloglog" if survival else "logit")
    knots = np.quantile(linear, _KNOTS)
    design = linear[:, None] if np.min(np.diff(knots)) < 1e-9 else restricted_cubic_spline(linear, knots)
    design = (design - design.mean(axis=0)) / design.std(axis=0)
    start = np.zeros(design.shape[1])
    if survival:
        assert horizon is not None
        beta, _ = maximise(CoxLikelihood.of(design, outcomes), start, 1e-8)
        baseline = breslow_hazard(design @ beta, outcomes).at(horizon)
        return -np.expm1(-baseline * np.exp(design @ beta))
    design = np.column_stack((np.ones(len(design)), design))
    ones = np.ones(len(design))
    likelihood = BinomialLikelihood(design, outcomes.flag, ones, 0.0 * ones, "logit")
    beta, _ = maximise(likelihood, np.append(start, 0.0), 1e-6)
    return expit(design @ beta)


def overall_risk(outcomes: Outcomes, horizon: float | None, weight: np.ndarray | None = None) -> float:
    """Kaplan-Meier risk at `horizon`, or the share of positive labels."""
    if outcomes.kind == "binary":
        return float(np.average(outcomes.flag, weights=weight))
    return float(1.0 - kaplan_meier(outcomes.times(), outcomes.flag, weight).at(horizon or 0.0))
