"""Step curves against lifelines and against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter

from clinical_assets.modeling.curves import breslow_hazard, censoring_curve, horizon_labels, kaplan_meier
from clinical_assets.modeling.outcomes import Outcomes


def test_kaplan_meier_equals_lifelines(censored) -> None:
    outcomes, _ = censored
    times = np.linspace(0.0, 950.0, 77)
    expected = KaplanMeierFitter().fit(outcomes.time, outcomes.event).survival_function_at_times(times)
    np.testing.assert_allclose(kaplan_meier(outcomes.time, outcomes.event).at(times), expected, atol=1e-12)


def test_weighted_kaplan_meier_counts_a_subject_as_often_as_its_weight(censored) -> None:
    outcomes, _ = censored
    weight = np.random.default_rng(1).integers(0, 4, outcomes.n)
    repeated = np.repeat(np.arange(outcomes.n), weight)
    times = np.linspace(10.0, 850.0, 40)
    np.testing.assert_allclose(
        kaplan_meier(outcomes.time, outcomes.event, weight).at(times),
        kaplan_meier(outcomes.time[repeated], outcomes.event[repeated]).at(times),
        atol=1e-12,
    )


def test_breslow_hazard_equals_the_baseline_of_lifelines(cohort) -> None:
    data = cohort("lung_advanced")
    frame = data.frame[["time", "event", "age"]].astype(float)
    model = CoxPHFitter(baseline_estimation_method="breslow").fit(frame, "time", "event")
    centred = (frame["age"] - frame["age"].mean()).to_numpy() * model.params_["age"]
    curve = breslow_hazard(centred, data.outcomes(data.frame))
    expected = model.baseline_cumulative_hazard_["baseline cumulative hazard"]
    np.testing.assert_allclose(curve.at(expected.index.to_numpy()), expected.to_numpy(), rtol=1e-6)


def test_horizon_labels_by_hand() -> None:
    outcomes = Outcomes.survival(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1, 0, 1, 0]))
    labels = horizon_labels(outcomes, 3.5)
    assert labels.label.tolist() == [True, False, True, False]
    # G drops from 1 to 2/3 at t = 2, so the event at 3 and the survivor count 3/2, the censored subject nothing.
    np.testing.assert_allclose(labels.weight, [1.0, 0.0, 1.5, 1.5])


def test_censoring_weights_recover_the_kaplan_meier_risk_exactly(cohort, censored) -> None:
    data = cohort("breast")
    for outcomes, horizon in ((data.outcomes(data.frame), 1826.25), (censored[0], 400.0)):
        labels = horizon_labels(outcomes, horizon)
        weighted = np.sum(labels.weight * labels.label) / outcomes.n
        assert weighted == pytest.approx(1.0 - kaplan_meier(outcomes.time, outcomes.event).at(horizon), abs=1e-9)
        assert labels.weight.sum() == pytest.approx(outcomes.n)


def test_weights_are_capped() -> None:
    time = np.arange(1.0, 101.0)
    event = np.zeros(100)
    event[-1] = 1
    labels = horizon_labels(Outcomes.survival(time, event), 100.0, cap=5.0)
    assert labels.weight.max() == 5.0
    assert censoring_curve(Outcomes.survival(time, event)).before(100.0) == pytest.approx(0.01)
