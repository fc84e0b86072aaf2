"""The Newton fits against lifelines, scikit-learn, published coefficients and numerical derivatives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.datasets import load_rossi
from sklearn.linear_model import LogisticRegression

from clinical_assets.modeling.families.cox import (
    DOUBT,
    FEWEST_EVENTS,
    PENALTIES,
    choose_penalty,
    expected_penalty,
    fit_penalised,
)
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.likelihood import BinomialLikelihood, ConvergenceError, CoxLikelihood, maximise
from clinical_assets.modeling.outcomes import Outcomes


def test_cox_reproduces_the_published_rossi_recidivism_table() -> None:
    rossi = load_rossi()
    names = ["fin", "age", "race", "wexp", "mar", "paro", "prio"]
    outcomes = Outcomes.survival(rossi["week"].to_numpy(), rossi["arrest"].to_numpy())
    beta, value = maximise(CoxLikelihood.of(rossi[names].to_numpy(float), outcomes), np.zeros(7))
    # Fox & Weisberg, Cox Proportional-Hazards Regression for Survival Data in R, Efron ties.
    np.testing.assert_allclose(beta, [-0.3794, -0.0574, 0.3139, -0.1498, -0.4337, -0.0849, 0.0915], atol=6e-5)
    assert value == pytest.approx(-658.748, abs=1e-3)


def test_penalised_cox_equals_lifelines(cohort, fitted) -> None:
    data = cohort("colon")
    encoded = fitted("colon", "cox").encoder_.transform(data.train)
    outcomes = data.outcomes(data.train)
    frame = pd.DataFrame(encoded).assign(time=outcomes.time, event=outcomes.event)
    expected = CoxPHFitter(penalizer=0.05).fit(frame, "time", "event").params_.to_numpy()
    per_event = 0.05 * outcomes.n / outcomes.events
    np.testing.assert_allclose(fit_penalised(encoded, outcomes, per_event).coefficients[:, 0], expected, atol=1e-4)


def test_penalised_logistic_equals_scikit_learn(cohort, fitted) -> None:
    data = cohort("breast_fna")
    encoded = fitted("breast_fna", "cox").encoder_.transform(data.train)
    outcomes = data.outcomes(data.train)
    score = fit_penalised(encoded, outcomes, 0.03)
    expected = LogisticRegression(C=1.0 / (0.03 * outcomes.events), tol=1e-10, max_iter=5000).fit(
        encoded, outcomes.flag
    )
    np.testing.assert_allclose(score.coefficients[:, 0], expected.coef_[0], atol=1e-5)
    assert score.intercept[0] == pytest.approx(expected.intercept_[0], abs=1e-5)


def likelihoods(outcomes: Outcomes, score: np.ndarray) -> list[CoxLikelihood | BinomialLikelihood]:
    rng = np.random.default_rng(0)
    design = np.column_stack((score, rng.normal(size=(outcomes.n, 2))))
    weight, offset = rng.uniform(0.0, 2.0, outcomes.n), rng.normal(size=outcomes.n) * 0.2
    binomial = [BinomialLikelihood(design, outcomes.flag, weight, offset, link) for link in ("logit", "cloglog")]
    return [CoxLikelihood.of(design, outcomes), *binomial]


def test_gradients_equal_numerical_derivatives(censored) -> None:
    beta = np.array([0.3, -0.2, 0.1])
    for likelihood in likelihoods(*censored):
        steps = 1e-5 * np.eye(3)
        numeric = [(likelihood(beta + step)[0] - likelihood(beta - step)[0]) / 2e-5 for step in steps]
        np.testing.assert_allclose(likelihood(beta)[1], numeric, rtol=1e-5)


def test_the_cox_hessian_equals_numerical_derivatives(censored) -> None:
    likelihood = likelihoods(*censored)[0]
    beta = np.array([0.3, -0.2, 0.1])
    numeric = [(likelihood(beta + s)[1] - likelihood(beta - s)[1]) / 2e-5 for s in 1e-5 * np.eye(3)]
    np.testing.assert_allclose(likelihood(beta)[2], numeric, rtol=1e-5, atol=1e-6)


def test_a_rare_column_with_a_huge_effect_still_converges() -> None:
    rng = np.random.default_rng(1)
    matrix = np.column_stack((rng.normal(size=80), np.eye(80)[0] * 80**0.5))
    time = rng.exponential(size=80)
    time[0] = 1e-4
    outcomes = Outcomes.survival(time, np.ones(80))
    beta, _ = maximise(CoxLikelihood.of(matrix, outcomes), np.zeros(2), 0.001 * 80)
    assert np.isfinite(beta).all()


def test_separated_labels_without_a_penalty_are_reported() -> None:
    label = np.arange(10) > 4
    matrix = np.column_stack((np.ones(10), np.where(label, 1.0, -1.0)))
    likelihood = BinomialLikelihood(matrix, label, np.ones(10), np.zeros(10), "logit")
    with pytest.raises(ConvergenceError):
        maximise(likelihood, np.zeros(2), tolerance=0.0, iterations=20)


@pytest.mark.parametrize("rounded", [1.0, 40.0, 400.0])
def test_efron_in_blocks_equals_the_sum_over_deaths(rounded: float, censored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clinical_assets.modeling.likelihood._BLOCK", 16)
    outcomes, score = censored
    outcomes = Outcomes.survival(np.ceil(outcomes.time / rounded), outcomes.event)
    rng = np.random.default_rng(2)
    matrix = np.column_stack((score, rng.normal(size=(outcomes.n, 2))))
    beta = np.array([0.4, -0.3, 0.2])
    hazard = np.exp(matrix @ beta)
    value, gradient, hessian = float((matrix @ beta)[outcomes.event].sum()), matrix[outcomes.event].sum(axis=0), 0.0
    for when in np.unique(outcomes.time[outcomes.event]):
        at_risk, dying = outcomes.time >= when, (outcomes.time == when) & outcomes.event
        for rank in range(dying.sum()):
            weight = hazard * (at_risk - rank / dying.sum() * dying)
            mean = weight @ matrix / weight.sum()
            value -= np.log(weight.sum())
            gradient = gradient - mean
            hessian = hessian - (matrix.T * weight) @ matrix / weight.sum() + np.outer(mean, mean)
    likelihood = CoxLikelihood.of(matrix, outcomes)
    found = likelihood(beta)
    assert found[0] == pytest.approx(value)
    assert likelihood.value(beta) == pytest.approx(value)
    np.testing.assert_allclose(found[1], gradient, atol=1e-9)
    np.testing.assert_allclose(found[2], hessian, atol=1e-9)


def test_the_path_chooses_as_separate_fits_do(censored) -> None:
    outcomes, score = censored
    rng = np.random.default_rng(5)
    encoded = np.column_stack((score, rng.normal(size=(outcomes.n, 8))))
    fold = stratified_folds(outcomes, 5, 1)
    gains = []
    for penalty in PENALTIES:
        gain = 0.0
        for k in range(5):
            inside = fold != k
            beta = fit_penalised(encoded[inside], outcomes.take(inside), penalty).coefficients[:, 0]
            gain += CoxLikelihood.of(encoded, outcomes).value(beta)
            gain -= CoxLikelihood.of(encoded[inside], outcomes.take(inside)).value(beta)
        doubt = max(1.0, DOUBT / outcomes.events)
        gains.append(gain - doubt * np.log10(penalty / expected_penalty(9, outcomes.events)) ** 2)
    assert choose_penalty(encoded, outcomes, 1) == PENALTIES[int(np.argmax(gains))]


def test_with_few_events_the_penalty_is_the_expected_one() -> None:
    rng = np.random.default_rng(0)
    outcomes = Outcomes.survival(rng.exponential(size=30), np.arange(30) < FEWEST_EVENTS - 1)
    assert choose_penalty(rng.normal(size=(30, 3)), outcomes, 1) == expected_penalty(3, FEWEST_EVENTS - 1)
    assert expected_penalty(3, FEWEST_EVENTS - 1) == pytest.approx(0.1)


def test_more_columns_per_event_are_expected_to_need_a_stronger_penalty() -> None:
    expected = [expected_penalty(columns, 100) for columns in (1, 20, 60, 3000)]
    np.testing.assert_allclose(expected, [0.03, 0.06, 0.18, 1.0])


def test_noise_is_shrunk_harder_than_signal(censored) -> None:
    outcomes, score = censored
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(outcomes.n, 12))
    signal = np.column_stack((score, score + 0.1 * rng.normal(size=outcomes.n)))
    assert choose_penalty(noise, outcomes, 1) >= 1.0
    assert choose_penalty(signal, outcomes, 1) < 0.3
