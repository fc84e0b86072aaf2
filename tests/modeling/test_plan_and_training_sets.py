"""How much is searched, and that no subject ever meets a model that has seen it."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from clinical_assets.modeling import training_sets as module
from clinical_assets.modeling.encoder import Feature
from clinical_assets.modeling.folds import fewest_of_a_kind, stratified_folds, stratified_sample
from clinical_assets.modeling.options import FAMILIES
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.plan import FEWEST_EVENTS, FINAL_ROWS, LARGE_ROWS, MANY_ROWS, Plan, plan_for
from clinical_assets.modeling.training_sets import NONE, Library, Subjects, training_sets


def survival(rows: int, events: int) -> Outcomes:
    return Outcomes.survival(np.arange(1.0, rows + 1.0), np.arange(rows) < events)


def subjects(rows: int = 60, folds: int = 4) -> Subjects:
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(rows, 2))
    outcomes = Outcomes.survival(rng.exponential(np.exp(-codes[:, 0])), rng.uniform(size=rows) < 0.7)
    features = (Feature("a", "number"), Feature("b", "number"))
    return Subjects(features, codes, outcomes, stratified_folds(outcomes, folds, 1), 1.0, 3)


@pytest.mark.parametrize(
    ("rows", "events", "folds", "families"),
    [
        (24, 4, 3, ("cox",)),
        (29, 7, 3, ("cox",)),
        (40, 13, 4, ("cox",)),
        (60, 20, 5, FAMILIES),
        (600, 300, 5, FAMILIES),
        (MANY_ROWS + 1, 5000, 3, FAMILIES),
    ],
)
def test_the_plan_follows_the_number_of_events(rows: int, events: int, folds: int, families: tuple[str, ...]) -> None:
    plan = plan_for(survival(rows, events), FAMILIES, 5)
    assert (plan.folds, plan.families) == (folds, families)
    assert plan.reason


def test_the_rarer_label_counts_as_the_event() -> None:
    labels = Outcomes.binary(np.arange(50) < 44)
    assert fewest_of_a_kind(labels) == 6
    assert plan_for(labels, FAMILIES, 5).families == ("cox",)


def test_families_for_survival_alone_are_left_out_of_a_binary_search() -> None:
    labels = Outcomes.binary(np.arange(200) < 100)
    assert plan_for(labels, FAMILIES, 5).families == ("cox", "discrete", "xgboost", "torch", "stack")


@pytest.mark.parametrize("outcomes", [survival(300, FEWEST_EVENTS - 1), Outcomes.binary(np.arange(300) < 3)])
def test_fewer_than_four_events_are_refused_with_the_counts(outcomes: Outcomes) -> None:
    with pytest.raises(ValueError, match=r"300 training subjects with 3 .*at least 4 are needed"):
        plan_for(outcomes, FAMILIES, 5)


def test_final_fits_are_bounded_for_all_but_the_floor() -> None:
    plan = Plan(FAMILIES, 3, LARGE_ROWS, "")
    assert plan.final_rows("cox", 10**6) == 10**6
    assert plan.final_rows("torch", 10**6) == FINAL_ROWS["torch"]
    assert plan.final_rows("torch", 100) == 100


def test_a_sample_keeps_the_share_of_events_and_takes_nobody_twice() -> None:
    outcomes = survival(1000, 130)
    rows = stratified_sample(outcomes, 200, 5)
    assert (len(rows), len(np.unique(rows)), outcomes.take(rows).events) == (200, 200, 26)
    np.testing.assert_array_equal(rows, np.sort(rows))


def test_every_context_has_its_training_sets_and_pairs_serve_two() -> None:
    found = subjects()
    nested = training_sets(found, Plan(FAMILIES, 4, LARGE_ROWS, ""), nested=True)
    pairs = [frozenset(pair) for pair in combinations(range(4), 2)]
    assert [one.left_out for one in nested] == [NONE, *(frozenset({k}) for k in range(4)), *pairs]
    for one in nested:
        expected = found.outcomes.take(found.without(one.left_out))
        np.testing.assert_array_equal(one.job.outcomes.time, expected.time)
        np.testing.assert_allclose(one.job.encoded.mean(axis=0), 0.0, atol=1e-12)
    assert len(training_sets(found, Plan(FAMILIES, 4, LARGE_ROWS, ""), nested=False)) == 5


def test_training_sets_of_the_cross_validation_are_bounded_and_the_final_one_is_not() -> None:
    sizes = [one.job.outcomes.n for one in training_sets(subjects(), Plan(FAMILIES, 4, 20, ""), nested=True)]
    assert sizes == [60] + [20] * 10


class _Remembering:
    """A predictor that answers 1 for rows it was trained on, 0 for others."""

    kind = "survival"

    def __init__(self, encoded: np.ndarray) -> None:
        self.seen = encoded[:, 0]

    def log_cumulative_hazard(self, encoded: np.ndarray, times: np.ndarray) -> np.ndarray:
        return np.isin(encoded[:, :1], self.seen).astype(float) + 0.0 * times


@pytest.mark.parametrize("nested", [True, False])
def test_out_of_fold_links_come_from_models_that_never_saw_the_subject(
    nested: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[np.ndarray] = []

    def train(jobs):
        trained.extend(job.encoded for job in jobs)
        return [_Remembering(job.encoded) for job in jobs]

    monkeypatch.setattr(module, "trainer", lambda family: train)
    monkeypatch.setattr(module.Encoder, "encode", lambda self, codes: codes)
    monkeypatch.setattr(module, "_BLOCK", 7)
    found = subjects()
    library = Library(found, Plan(("cox", "stack"), 4, LARGE_ROWS, ""), nested=nested)
    assert len(trained) == (11 if nested else 5)
    for left_out in [NONE, *([frozenset({k}) for k in range(4)] if nested else [])]:
        links = library.out_of_fold(left_out)[:, 0]
        inside = found.without(left_out)
        assert np.isnan(links[~inside]).all()
        np.testing.assert_array_equal(links[inside], 0.0)
    everything = library.predictor("cox", NONE)
    np.testing.assert_array_equal(everything.log_cumulative_hazard(found.codes, found.times), 1.0)


def test_each_subject_is_predicted_by_the_right_pair_of_folds() -> None:
    found = subjects()
    library = Library(found, Plan(("cox",), 4, LARGE_ROWS, ""), nested=True)
    for j in range(4):
        links = library.out_of_fold(frozenset({j}))[:, 0]
        for k in set(range(4)) - {j}:
            rows, pair = found.fold == k, frozenset({j, k})
            predictor, encoder = library.predictor("cox", pair), library.encoders[pair]
            expected = predictor.log_cumulative_hazard(encoder.encode(found.codes[rows]), found.times)[:, 0]
            np.testing.assert_allclose(links[rows], expected, rtol=0, atol=1e-14)
