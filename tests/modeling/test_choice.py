"""The floor stays unless held-out subjects speak for something else."""

from __future__ import annotations

import numpy as np
import pytest

from clinical_assets.modeling.choice import LEAST_WEIGHT, Context, Trial, choose, earned, simplest
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.outcomes import Outcomes


def trial(family: str, *scores: float, likelihood: float = 0.0) -> Trial:
    return Trial(family, family, "uno_c", scores, likelihood, np.zeros(0))


def context(kind: str, *, signal: float, noise: float, rows: int = 500) -> Context:
    """Links of the floor, which knows one column, and of trees, which know `signal` more and mistake `noise` for it."""
    rng = np.random.default_rng(4)
    known, hidden, error = rng.normal(size=(3, rows))
    truth = 0.7 * known + signal * hidden
    if kind == "binary":
        outcomes = Outcomes.binary(rng.uniform(size=rows) < 1.0 / (1.0 + np.exp(-truth)))
    else:
        time, censored = rng.exponential(np.exp(-truth)), rng.uniform(0.1, 3.0, size=rows)
        outcomes = Outcomes.survival(np.minimum(time, censored), time <= censored)
    links = np.column_stack((0.7 * known, truth + noise * error))
    horizon = None if kind == "binary" else 1.0
    return Context(("cox", "xgboost"), links, outcomes, stratified_folds(outcomes, 5, 1), horizon)


def test_without_a_pool_the_floor_wins_within_one_standard_error() -> None:
    trials = {"cox": trial("cox", 0.66, 0.68, 0.70), "xgboost": trial("xgboost", 0.67, 0.69, 0.71)}
    family, reason = simplest(trials)
    assert family == "cox"
    assert "within one standard error" in reason


def test_without_a_pool_a_clearly_better_family_wins() -> None:
    family, _ = simplest({"cox": trial("cox", 0.60, 0.61, 0.62), "torch": trial("torch", 0.70, 0.71, 0.72)})
    assert family == "torch"


def test_a_fold_without_comparable_pairs_does_not_count() -> None:
    assert trial("cox", 0.6, float("nan"), 0.8).mean == pytest.approx(0.7)
    assert trial("cox", 0.6, float("nan"), 0.8).row(chosen=True)["folds"] == [0.6, None, 0.8]
    assert (trial("cox", float("nan")).mean, trial("cox", float("nan")).standard_error) == (0.5, 0.0)


@pytest.mark.parametrize("kind", ["survival", "binary"])
def test_a_pool_that_knows_more_is_taken_and_says_why(kind: str) -> None:
    choice = choose(context(kind, signal=0.7, noise=0.2), pooling=True)
    assert choice.family == "stack"
    assert choice.weights["xgboost"] > 0.5
    assert sum(choice.weights.values()) == pytest.approx(1.0)
    assert "log likelihood over cox" in choice.reason
    assert list(choice.trials) == ["cox", "xgboost", "stack"]
    assert choice.trials["stack"].mean > choice.trials["cox"].mean
    members = choice.trials["cox"].weight * choice.trials["cox"].link
    members = members + choice.trials["xgboost"].weight * choice.trials["xgboost"].link
    np.testing.assert_allclose(choice.trials["stack"].link, members)


@pytest.mark.parametrize("kind", ["survival", "binary"])
def test_noise_gets_next_to_no_weight(kind: str) -> None:
    choice = choose(context(kind, signal=0.0, noise=4.0), pooling=True)
    assert choice.weights.get("xgboost", 0.0) < 0.1


@pytest.mark.parametrize(("gain", "family"), [(-0.1, "cox"), (0.0, "cox"), (0.1, "stack")])
def test_the_floor_stays_where_a_pool_gains_nothing(gain: float, family: str) -> None:
    trials = {"cox": trial("cox", 0.6, likelihood=-9.0), "stack": trial("stack", 0.7, likelihood=-9.0 + gain)}
    found, reason = earned(trials, {"cox": 0.5, "torch": 0.5})
    assert found == family
    assert ("gains nothing" in reason) == (family == "cox")


def test_a_pool_of_one_is_that_family() -> None:
    trials = {"cox": trial("cox", 0.6, likelihood=-9.0), "torch": trial("torch", 0.7, likelihood=-5.0)}
    trials["stack"] = trial("stack", 0.7, likelihood=-5.0)
    assert earned(trials, {"torch": 1.0})[0] == "torch"


def test_members_that_hardly_count_are_left_out() -> None:
    assert min(choose(context("survival", signal=2.0, noise=0.0), pooling=True).weights.values()) >= LEAST_WEIGHT


def test_one_family_alone_needs_no_choice() -> None:
    whole = context("survival", signal=0.0, noise=1.0)
    alone = Context(("cox",), whole.links[:, :1], whole.outcomes, whole.fold, whole.horizon)
    assert choose(alone, pooling=True).family == "cox"
