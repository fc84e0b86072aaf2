"""Recalibration: recovers a known distortion, leaves a good model alone, keeps curves monotone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from clinical_assets.modeling.calibration import Recalibration, from_link, recalibrate, to_link
from clinical_assets.modeling.outcomes import Outcomes


def labels(n: int = 4000) -> tuple[np.ndarray, Outcomes]:
    rng = np.random.default_rng(2)
    risk = expit(rng.normal(-0.5, 1.2, n))
    return risk, Outcomes.binary(rng.random(n) < risk)


def follow_up(n: int = 4000) -> tuple[np.ndarray, Outcomes]:
    """True risk at 365 days, with exponential event times and censoring."""
    rng = np.random.default_rng(4)
    rate = np.exp(rng.normal(0, 0.8, n)) / 700.0
    event_time, censor_time = rng.exponential(1 / rate), rng.uniform(100, 1500, n)
    outcomes = Outcomes.survival(np.minimum(event_time, censor_time), event_time <= censor_time)
    return -np.expm1(-rate * 365.0), outcomes


@pytest.mark.parametrize("make", [labels, follow_up])
def test_a_calibrated_model_is_left_alone(make) -> None:
    risk, outcomes = make()
    found = recalibrate(risk, outcomes, 365.0)
    assert (found.intercept, found.slope) == (0.0, 1.0)
    assert found.risk(risk) is risk


@pytest.mark.parametrize("make", [labels, follow_up])
def test_an_overconfident_model_is_brought_back(make) -> None:
    risk, outcomes = make()
    link = "logit" if outcomes.kind == "binary" else "cloglog"
    distorted = from_link(0.4 + 1.8 * to_link(risk, link), link)
    found = recalibrate(distorted, outcomes, 365.0)
    assert found.slope == pytest.approx(1 / 1.8, abs=0.06)
    np.testing.assert_allclose(found.risk(distorted), risk, atol=0.04)


def test_a_shifted_model_gets_an_intercept_only() -> None:
    risk, outcomes = labels()
    found = recalibrate(expit(logit(risk) + 0.5), outcomes, None)
    assert found.slope == 1.0
    assert found.intercept == pytest.approx(-0.5, abs=0.1)


def test_binary_recalibration_equals_platt_scaling() -> None:
    risk, outcomes = labels()
    distorted = expit(2.0 * logit(risk))
    found = recalibrate(distorted, outcomes, None)
    platt = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(distorted)[:, None], outcomes.flag)
    assert found.slope == pytest.approx(platt.coef_[0, 0], abs=1e-4)
    assert found.intercept == pytest.approx(platt.intercept_[0], abs=1e-4)


def test_a_few_patients_are_not_recalibrated_on_noise() -> None:
    risk, outcomes = labels(60)
    found = recalibrate(expit(1.2 * logit(risk)), outcomes, None)
    assert (found.intercept, found.slope) == (0.0, 1.0)


def test_inverted_predictions_are_not_turned_round() -> None:
    risk, outcomes = labels()
    assert recalibrate(1.0 - risk, outcomes, None).slope > 0.0


def test_curves_stay_monotone_and_meet_the_recalibrated_risk(cohort, fitted) -> None:
    data, model = cohort("colon"), fitted("colon", "cox")
    recalibration = Recalibration("cloglog", intercept=-0.3, slope=0.6)
    changed = model.recalibrated(recalibration)
    curves = changed.survival(data.test, np.linspace(0.0, 4000.0, 50))
    assert (np.diff(curves, axis=1) <= 0).all()
    expected = recalibration.risk(model.risk(data.test, data.horizon))
    np.testing.assert_allclose(changed.risk(data.test, data.horizon), expected, atol=1e-12)


@pytest.mark.parametrize("label", [np.zeros(20, bool), np.ones(20, bool)])
def test_labels_of_one_kind_change_nothing(label: np.ndarray) -> None:
    risk = np.linspace(0.1, 0.6, 20)
    assert recalibrate(risk, Outcomes.binary(label), None) == Recalibration("logit")


def test_an_endpoint_without_events_by_the_horizon_changes_nothing() -> None:
    outcomes = Outcomes.survival(np.linspace(400.0, 900.0, 12), np.arange(12) % 2)
    assert recalibrate(np.linspace(0.05, 0.3, 12), outcomes, 365.0) == Recalibration("cloglog")
