"""The peers are real competitors: full pipelines that see the training part only, and known libraries' results."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.model_quality.cohorts import Cohort, load_cohort
from benchmarks.model_quality.design import boosting_design, forest_design, linear_design
from benchmarks.model_quality.evaluation import Plan, evaluate
from benchmarks.model_quality.measures import fold_measures, pooled_measures, time_grid
from benchmarks.model_quality.procedures import NULL, PLATFORM, TITLES, procedure
from benchmarks.model_quality.survival_peers import partial_likelihood
from benchmarks.model_quality.task import Forecast, Task
from clinical_assets.modeling.curves import kaplan_meier
from clinical_assets.modeling.outcomes import Outcomes

LEARNERS = [name for name in TITLES if name not in (PLATFORM, NULL)]


def cohort_of(slug: str) -> Cohort:
    return load_cohort(slug, Plan().subjects)


def task_of(slug: str, subjects: int | None = None) -> tuple[Task, Outcomes]:
    """The first fold of a real cohort, cut to `subjects` training subjects, with the outcomes to be predicted."""
    cohort = cohort_of(slug)
    held_out = cohort.folds(5, 1, seed=3)[0] == 0
    train = np.flatnonzero(~held_out)[:subjects]
    task = Task(
        cohort.cancer,
        cohort.frame.loc[train].reset_index(drop=True),
        cohort.outcomes.take(train),
        cohort.frame.loc[held_out].reset_index(drop=True),
        time_grid(cohort.horizon),
        seed=3,
    )
    return task, cohort.outcomes.take(held_out)


def forecast(name: str, task: Task) -> Forecast:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return procedure(name, task.outcomes.kind)(task)


@pytest.mark.parametrize("name", [*LEARNERS, NULL])
def test_survival_peers_give_curves_that_end_in_their_risk(name: str) -> None:
    task, outcomes = task_of("lung_advanced")
    found = forecast(name, task)
    assert found.survival is not None
    assert found.survival.shape == (outcomes.n, len(time_grid(task.horizon)))
    assert (np.diff(found.survival, axis=1) <= 1e-12).all()
    assert found.risk == pytest.approx(1.0 - found.survival[:, -1])
    assert ((found.risk >= 0) & (found.risk <= 1)).all()
    if name != NULL:
        assert fold_measures(task.outcomes, outcomes, found, task.horizon, task.times)["uno_c"] > 0.5


@pytest.mark.parametrize("name", LEARNERS)
def test_binary_peers_tell_benign_from_malignant(name: str) -> None:
    task, outcomes = task_of("breast_fna", 150)
    found = forecast(name, task)
    assert found.survival is None
    assert fold_measures(task.outcomes, outcomes, found, None, None)["auroc"] > 0.93


@pytest.mark.parametrize("name", LEARNERS)
def test_a_thin_cohort_stops_no_peer(name: str) -> None:
    task, _ = task_of("lung_advanced", 35)
    assert np.isfinite(forecast(name, task).risk).all()


def test_the_null_model_is_kaplan_meier() -> None:
    task, _ = task_of("lung_advanced")
    curve = kaplan_meier(task.outcomes.times(), task.outcomes.flag)
    assert forecast(NULL, task).survival == pytest.approx(np.tile(curve.at(task.times), (len(task.test), 1)))


def test_untuned_cox_is_the_cox_regression_of_lifelines() -> None:
    import pandas as pd
    from lifelines import CoxPHFitter

    task, _ = task_of("lung_advanced")
    train, test = linear_design(task)
    frame = pd.DataFrame(train).assign(time=task.outcomes.times(), event=task.outcomes.flag)
    fitter = CoxPHFitter().fit(frame, "time", "event")
    curves = fitter.predict_survival_function(pd.DataFrame(test))  # asked for times, it would interpolate
    last = np.searchsorted(curves.index, task.times, side="right") - 1
    assert forecast("regression", task).survival == pytest.approx(curves.to_numpy()[last].T, abs=1e-3)


def test_tuning_shrinks_predictions_where_there_is_nothing_to_learn() -> None:
    task, _ = task_of("lung_advanced", 100)
    shuffled = replace(task, outcomes=task.outcomes.take(np.random.default_rng(0).permutation(task.outcomes.n)))
    plain, tuned = (forecast(name, shuffled).risk.std() for name in ("regression", "elastic_net"))
    assert tuned < plain / 2


@pytest.mark.parametrize("design", [linear_design, forest_design, boosting_design])
def test_the_design_learns_nothing_from_test_subjects(design) -> None:
    task, _ = task_of("lung_advanced")
    train, test = design(task)
    other_train, other_test = design(replace(task, test=task.test.iloc[:3]))
    assert np.array_equal(train, other_train, equal_nan=True)
    assert np.array_equal(test[:3], other_test, equal_nan=True)


def test_the_design_fills_gaps_and_keeps_them_visible() -> None:
    task, _ = task_of("lung_advanced")
    assert task.train["meal_cal"].isna().sum() >= 5
    for design, gaps in ((linear_design, False), (forest_design, False), (boosting_design, True)):
        train, test = design(task)
        assert np.isnan(train).any() == gaps
        assert np.isnan(test).any() == gaps
    filled = forest_design(task)[0].shape[1]
    assert filled > boosting_design(task)[0].shape[1], "imputed columns come with an indicator"
    train, _ = linear_design(task)
    assert train.mean(axis=0) == pytest.approx(0.0, abs=1e-9)
    assert train.std(axis=0) == pytest.approx(1.0)


@pytest.mark.filterwarnings("ignore:Found unknown categories")
def test_a_level_that_training_never_saw_is_encoded() -> None:
    task, _ = task_of("colon")
    rare = task.train.assign(rx=np.where(task.train["rx"] == "Lev", "Obs", task.train["rx"]))
    _, test = linear_design(replace(task, train=rare))
    assert np.isfinite(test).all()


def test_partial_likelihood_is_the_product_over_events_written_out() -> None:
    rng = np.random.default_rng(5)
    scores = rng.standard_normal((40, 2))
    outcomes = Outcomes.survival(rng.integers(1, 15, 40).astype(float), rng.random(40) < 0.6)
    time = outcomes.times()
    expected = np.zeros(2)
    for subject in np.flatnonzero(outcomes.flag):
        at_risk = time >= time[subject]
        expected += np.log(np.exp(scores[subject]) / np.exp(scores[at_risk]).sum(axis=0))
    assert partial_likelihood(scores, outcomes) == pytest.approx(expected)


def test_fold_measures_are_those_of_scikit_survival() -> None:
    from sksurv.metrics import brier_score, concordance_index_censored, concordance_index_ipcw, integrated_brier_score
    from sksurv.util import Surv

    task, outcomes = task_of("colon")
    found = forecast("elastic_net", task)
    assert task.horizon is not None
    measured = fold_measures(task.outcomes, outcomes, found, task.horizon, task.times)
    train, test = (Surv.from_arrays(part.flag, part.times()) for part in (task.outcomes, outcomes))
    uno = concordance_index_ipcw(train, test, found.risk, tau=task.horizon)[0]
    assert measured["uno_c"] == pytest.approx(uno, abs=2e-3)
    harrell = concordance_index_censored(outcomes.flag, outcomes.times(), found.risk)[0]
    assert measured["harrell_c"] == pytest.approx(harrell, abs=2e-3)
    brier = brier_score(train, test, found.survival[:, -1:], task.times[-1:])[1][0]
    assert measured["brier"] == pytest.approx(brier, abs=2e-3)
    assert measured["ibs"] == pytest.approx(integrated_brier_score(train, test, found.survival, task.times), abs=2e-3)


def test_a_fold_without_an_early_event_has_no_concordance() -> None:
    train = Outcomes.survival(np.arange(1.0, 21.0), np.ones(20))
    test = Outcomes.survival(np.array([4.0, 5.0, 6.0]), np.array([0, 0, 1]))
    times = time_grid(5.0)
    found = fold_measures(train, test, Forecast(np.full(3, 0.5), np.full((3, len(times)), 0.5)), 5.0, times)
    assert found["uno_c"] is None
    assert pooled_measures(Outcomes.binary(np.array([0, 0, 1, 1])), np.zeros(4), None)["ici"] is None


def test_every_procedure_gets_the_same_folds_and_no_outcome_of_a_test_subject() -> None:
    cohort = cohort_of("melanoma")
    first, second = (evaluate(cohort, name, Plan(repeats=1)) for name in ("regression", NULL))
    sizes = [
        [(fold["train"], fold["test"], fold["test_events"]) for fold in found["folds"]] for found in (first, second)
    ]
    assert sizes[0] == sizes[1]
    assert sum(fold["test"] for fold in first["folds"]) == cohort.outcomes.n
    events = [fold["test_events"] for fold in first["folds"]]
    assert max(events) - min(events) <= 8
    assert evaluate(cohort, "regression", Plan(repeats=1))["folds"][0]["uno_c"] == first["folds"][0]["uno_c"]
