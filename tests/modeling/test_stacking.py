"""Pool weights against a grid search, and how the prior gives way to data."""

from __future__ import annotations

import numpy as np
import pytest

from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.likelihood import CoxLikelihood
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.stacking import SPREAD, held_out_likelihood, pool_weights

EVEN = np.array([0.5, 0.5])


def subjects(rows: int, seed: int = 0) -> tuple[np.ndarray, Outcomes, np.ndarray]:
    """Two members that each know half of the truth, the first four times as much; outcomes and folds."""
    rng = np.random.default_rng(seed)
    links = rng.normal(size=(rows, 2))
    time, censored = rng.exponential(np.exp(-links @ [0.8, 0.2])), rng.uniform(0.2, 4.0, size=rows)
    outcomes = Outcomes.survival(np.minimum(time, censored), time <= censored)
    return links, outcomes, stratified_folds(outcomes, 4, 1)


def test_weights_maximise_the_penalised_likelihood_within_folds() -> None:
    links, outcomes, fold = subjects(120)
    parts = [CoxLikelihood.of(links[fold == k], outcomes.take(fold == k)) for k in range(4)]
    grid = np.linspace(0.0, 1.4, 141)

    def goal(weights: np.ndarray) -> float:
        return sum(part.value(weights) for part in parts) - 0.5 * float(((weights - EVEN) ** 2).sum()) / SPREAD**2

    best = max((np.array([a, b]) for a in grid for b in grid), key=goal)
    np.testing.assert_allclose(pool_weights(links, outcomes, fold, EVEN), best / best.sum(), atol=0.01)


def test_few_subjects_keep_the_prior_and_many_find_the_truth() -> None:
    few, many = (pool_weights(*subjects(rows), EVEN)[0] for rows in (24, 4000))
    assert abs(few - 0.5) < abs(many - 0.5)
    assert many == pytest.approx(0.8, abs=0.03)


def test_weights_are_not_negative() -> None:
    links, outcomes, fold = subjects(800)
    against = np.column_stack((links[:, 0], -links.sum(axis=1)))
    np.testing.assert_allclose(pool_weights(against, outcomes, fold, EVEN), [1.0, 0.0])


def test_levels_that_differ_between_folds_do_not_count() -> None:
    links, outcomes, fold = subjects(400)
    shifted = links + 7.0 * fold[:, None]
    np.testing.assert_allclose(
        pool_weights(shifted, outcomes, fold, EVEN), pool_weights(links, outcomes, fold, EVEN), atol=1e-6
    )


def test_a_member_that_says_the_same_of_everyone_has_no_say() -> None:
    links, outcomes, fold = subjects(100)
    flat = np.column_stack((links[:, 0], np.full(100, 0.3)))
    np.testing.assert_array_equal(pool_weights(flat, outcomes, fold, EVEN), [1.0, 0.0])
    np.testing.assert_array_equal(pool_weights(0.0 * links, outcomes, fold, EVEN), EVEN)


@pytest.mark.parametrize("kind", ["survival", "binary"])
def test_a_link_that_points_the_wrong_way_is_worth_as_much_as_none(kind: str) -> None:
    links, outcomes, fold = subjects(300)
    outcomes = outcomes if kind == "survival" else Outcomes.binary(outcomes.flag & (outcomes.time < 1.0))
    nothing = held_out_likelihood(0.0 * links[:, 0], outcomes, fold)
    assert held_out_likelihood(-links[:, 0], outcomes, fold) == pytest.approx(nothing)
    assert held_out_likelihood(links[:, 0], outcomes, fold) > nothing + 5.0
    assert held_out_likelihood(3.0 * links[:, 0], outcomes, fold) == pytest.approx(
        held_out_likelihood(links[:, 0], outcomes, fold)
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
@pytest.mark.parametrize("rows", [4, 16])
def test_a_handful_of_subjects_in_perfect_order_has_a_likelihood(rows: int, scale: float) -> None:
    time = np.arange(1.0, rows + 1.0)
    outcomes = Outcomes.survival(time, np.arange(rows) < rows // 2)
    links = -scale * time
    found = held_out_likelihood(links, outcomes, np.arange(rows) % 2)
    assert held_out_likelihood(0.0 * links, outcomes, np.arange(rows) % 2) <= found <= 0.0
