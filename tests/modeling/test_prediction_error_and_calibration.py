"""Brier scores and calibration against SurvivalEVAL, greenwood, scikit-learn and known truth."""

from __future__ import annotations

import greenwood
import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from SurvivalEVAL.evaluations.calibration.distributional.distribution_calibration import d_calibration
from SurvivalEVAL.evaluations.calibration.single_time.integrated_calibration_index import integrated_calibration_index
from SurvivalEVAL.evaluations.prediction_error.brier_score import brier_multiple_points

from clinical_assets.modeling.curves import censoring_curve, kaplan_meier
from clinical_assets.modeling.metrics.calibration import (
    calibration_at_horizon,
    calibration_line,
    dcalibration,
    survival_at,
)
from clinical_assets.modeling.metrics.prediction_error import brier, brier_contributions, ibs, km_ibs
from clinical_assets.modeling.metrics.smooth import restricted_cubic_spline
from clinical_assets.modeling.metrics.usefulness import net_benefit
from clinical_assets.modeling.outcomes import Outcomes


@pytest.fixture
def colon(cohort, fitted) -> tuple[Outcomes, Outcomes, np.ndarray, np.ndarray]:
    """Training outcomes, test outcomes, predicted survival on a grid to the horizon, the grid."""
    data = cohort("colon")
    times = np.linspace(36.5, 1826.25, 50)
    survival = fitted("colon", "cox").survival(data.test, times)
    return data.outcomes(data.train), data.outcomes(data.test), survival, times


def test_brier_scores_equal_survivaleval(colon) -> None:
    train, test, survival, times = colon
    mine = brier_contributions(test, survival, times, censoring_curve(train)).mean(axis=0)
    theirs = brier_multiple_points(survival, test.time, test.event, train.time, train.event, times, ipcw=True)
    np.testing.assert_allclose(mine, theirs, rtol=0.01)


def test_the_integrated_brier_score_equals_greenwood(colon) -> None:
    _, test, survival, times = colon
    surv = greenwood.Surv(test.time, event=test.event.astype(int))
    expected = greenwood.integrated_brier_score(surv, survival, times)
    assert ibs(test, survival, times) == pytest.approx(expected, rel=1e-3)


def test_without_censoring_the_brier_score_is_the_squared_error() -> None:
    rng = np.random.default_rng(0)
    time, risk = rng.exponential(size=300), rng.random(300)
    outcomes = Outcomes.survival(time, np.ones(300))
    assert brier(outcomes, risk, 0.7) == pytest.approx(brier_score_loss(time <= 0.7, risk))
    contributions = brier_contributions(outcomes, (1 - risk)[:, None], np.array([0.7]))
    assert contributions.mean() == pytest.approx(brier_score_loss(time <= 0.7, risk))


def test_a_fitted_model_beats_kaplan_meier_and_kaplan_meier_beats_a_coin(colon) -> None:
    train, test, survival, times = colon
    null = km_ibs(test, kaplan_meier(train.time, train.event), times)
    assert ibs(test, survival, times) < null < ibs(test, np.full_like(survival, 0.5), times)


def test_times_beyond_follow_up_are_refused(colon) -> None:
    _, test, survival, times = colon
    with pytest.raises(ValueError, match="beyond the last follow-up"):
        brier_contributions(test, survival, times * 10)


def test_dcalibration_equals_survivaleval(colon) -> None:
    _, test, survival, times = colon
    found = dcalibration(test, survival, times)
    own = survival_at(survival, times, np.minimum(test.time, times[-1]))
    statistic, p_value, histogram = d_calibration(own, test.event & (test.time <= times[-1]))
    np.testing.assert_allclose(found.histogram, histogram, atol=1e-9)
    assert found.statistic == pytest.approx(statistic)
    assert found.p_value == pytest.approx(p_value)
    assert found.histogram.sum() == pytest.approx(test.n)


def simulated(n: int = 3000, seed: int = 11) -> tuple[Outcomes, np.ndarray, np.ndarray]:
    """Exponential survival with known rates: true curves on a grid, with censoring."""
    rng = np.random.default_rng(seed)
    rate = np.exp(rng.normal(0, 0.7, n)) / 600.0
    event_time, censor_time = rng.exponential(1 / rate), rng.uniform(200, 2500, n)
    outcomes = Outcomes.survival(np.minimum(event_time, censor_time), event_time <= censor_time)
    times = np.linspace(5.0, 1500.0, 300)
    return outcomes, np.exp(-rate[:, None] * times), times


def test_true_curves_pass_and_overconfident_curves_fail_dcalibration() -> None:
    outcomes, survival, times = simulated()
    assert dcalibration(outcomes, survival, times).p_value > 0.05
    assert dcalibration(outcomes, survival**1.5, times).p_value < 1e-6


def test_true_risks_are_calibrated_and_distorted_ones_are_not() -> None:
    outcomes, survival, times = simulated()
    risk = 1.0 - survival[:, 99]
    true = calibration_at_horizon(outcomes, risk, times[99])
    assert true.oe == pytest.approx(1.0, abs=0.06)
    assert true.citl == pytest.approx(0.0, abs=0.1)
    assert true.ici < 0.03
    halved = calibration_at_horizon(outcomes, risk / 2, times[99])
    assert halved.oe == pytest.approx(2 * true.oe)
    assert halved.ici > 0.15
    assert halved.citl > 0.5
    flat = -np.expm1(-np.exp(2.0 * np.log(-np.log1p(-risk))))
    assert calibration_at_horizon(outcomes, flat, times[99]).slope == pytest.approx(true.slope / 2, abs=1e-2)


def test_intercept_and_slope_of_true_risks_are_unbiased() -> None:
    lines = []
    for seed in range(25):
        outcomes, survival, times = simulated(1500, seed)
        lines.append(calibration_line(outcomes, 1.0 - survival[:, 99], times[99]))
    error = np.std(lines, axis=0, ddof=1) / 5.0
    np.testing.assert_array_less(np.abs(np.mean(lines, axis=0) - [0.0, 1.0]), 3.0 * error)
    assert (error < 0.03).all()


def test_the_calibration_index_equals_survivaleval(colon) -> None:
    _, test, survival, _ = colon
    risk = 1.0 - survival[:, -1]
    found = calibration_at_horizon(test, risk, 1826.25)
    expected = integrated_calibration_index(risk, test.time, test.event, 1826.25)
    assert found.ici == pytest.approx(expected["ICI"], abs=2e-3)
    assert found.e50 == pytest.approx(expected["E50"], abs=2e-3)
    assert found.e90 == pytest.approx(expected["E90"], abs=2e-3)


def test_binary_slope_equals_scikit_learn_and_observed_is_the_share() -> None:
    rng = np.random.default_rng(1)
    risk = expit(rng.normal(0, 1.5, 800))
    outcomes = Outcomes.binary(rng.random(800) < expit(0.3 + 0.7 * logit(risk)))
    found = calibration_at_horizon(outcomes, risk, None)
    line = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(risk)[:, None], outcomes.flag)
    assert found.slope == pytest.approx(line.coef_[0, 0], abs=1e-5)
    assert found.oe == pytest.approx(outcomes.flag.mean() / risk.mean())


def test_constant_predictions_have_no_slope_but_a_calibration_index() -> None:
    outcomes, _, _ = simulated(400)
    found = calibration_at_horizon(outcomes, np.full(400, 0.9), 500.0)
    assert np.isnan(found.slope)
    assert found.ici == pytest.approx(0.9 - found.observed)


def test_the_spline_is_linear_beyond_its_outer_knots() -> None:
    values = np.linspace(-3.0, 4.0, 71)
    basis = restricted_cubic_spline(values, np.array([-1.0, 0.0, 1.0]))
    outside = basis[values > 1.1][:, 1]
    np.testing.assert_allclose(np.diff(outside, 2), 0.0, atol=1e-9)
    assert (basis[values < -1.0][:, 1] == 0).all()


def test_net_benefit_by_hand() -> None:
    outcomes = Outcomes.binary(np.array([1, 1, 0, 0, 0, 0, 0, 0, 0, 0]))
    risk = np.array([0.9, 0.1, 0.8, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    found = net_benefit(outcomes, risk, 0.2, None)
    assert found.model == pytest.approx(0.1 - 0.1 * 0.25)
    assert found.treat_all == pytest.approx(0.2 - 0.8 * 0.25)


def test_uncensored_survival_net_benefit_equals_the_binary_one() -> None:
    rng = np.random.default_rng(9)
    time, risk = rng.exponential(size=400), rng.random(400)
    survival = net_benefit(Outcomes.survival(time, np.ones(400)), risk, 0.3, 0.6)
    binary = net_benefit(Outcomes.binary(time <= 0.6), risk, 0.3, None)
    assert survival.model == pytest.approx(binary.model)
    assert survival.treat_all == pytest.approx(binary.treat_all)


def test_acting_on_nobody_has_no_benefit_and_a_bad_threshold_is_refused() -> None:
    outcomes = Outcomes.binary(np.array([1, 0]))
    assert net_benefit(outcomes, np.array([0.1, 0.1]), 0.5, None).model == 0.0
    with pytest.raises(ValueError, match="not a probability"):
        net_benefit(outcomes, np.array([0.1, 0.1]), 1.0, None)
