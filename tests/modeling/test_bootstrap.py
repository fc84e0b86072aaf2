"""The bootstrap against resampled data sets, lifelines and theory."""

from __future__ import annotations

import time

import numpy as np
import pytest
from lifelines.utils import concordance_index

from clinical_assets.modeling.curves import kaplan_meier
from clinical_assets.modeling.metrics.bootstrap import (
    Draws,
    concordance_difference,
    concordance_interval,
    mean_interval,
    observed_expected_interval,
    risk_replicates,
    skill_interval,
)
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes


def test_replicates_equal_lifelines_on_the_resampled_subjects(censored) -> None:
    outcomes, risk = censored
    draws = Draws.make(outcomes.n, seed=5, replicates=12)
    found = ConcordancePairs.harrell(outcomes).replicates(risk, draws.counts)
    for value, counts in zip(found, draws.counts, strict=True):
        rows = np.repeat(np.arange(outcomes.n), counts.astype(int))
        assert value == pytest.approx(
            concordance_index(outcomes.time[rows], -risk[rows], outcomes.event[rows]), abs=1e-5
        )


def test_risk_replicates_equal_kaplan_meier_on_the_resampled_subjects(censored) -> None:
    outcomes, _ = censored
    draws = Draws.make(outcomes.n, seed=5, replicates=12)
    for value, counts in zip(risk_replicates(outcomes, 300.0, draws), draws.counts, strict=True):
        rows = np.repeat(np.arange(outcomes.n), counts.astype(int))
        assert value == pytest.approx(1.0 - kaplan_meier(outcomes.time[rows], outcomes.event[rows]).at(300.0))


def test_clusters_are_drawn_whole() -> None:
    clusters = np.array(["a", "b", "a", "c", "b", "a"])
    counts = Draws.make(clusters, seed=1, replicates=50).counts
    np.testing.assert_array_equal(counts[:, 0], counts[:, 2])
    np.testing.assert_array_equal(counts[:, 0], counts[:, 5])
    np.testing.assert_array_equal(counts[:, 1], counts[:, 4])
    assert (counts[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_the_interval_of_a_mean_is_that_of_theory() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = mean_interval(values, Draws.make(400, seed=2, replicates=4000))
    assert found.standard_error == pytest.approx(values.std() / 20.0, rel=0.05)
    assert found.half_width == pytest.approx(1.96 * values.std() / 20.0, rel=0.06)
    assert found.replicates == 4000


def test_the_interval_covers_the_true_concordance_as_often_as_it_says() -> None:
    rng = np.random.default_rng(8)
    covered = 0
    for seed in range(120):
        case, other = rng.normal(0.8, 1, 40), rng.normal(0, 1, 60)
        outcomes = Outcomes.binary(np.arange(100) < 40)
        risk = np.concatenate((case, other))
        found = concordance_interval(ConcordancePairs.of(outcomes), risk, Draws.make(100, seed, 400))
        covered += found.low <= 0.71420 <= found.high  # Phi(0.8 / sqrt 2)
    assert 105 <= covered <= 120


def test_pairing_makes_the_difference_of_similar_models_sharp(censored) -> None:
    outcomes, risk = censored
    pairs = ConcordancePairs.of(outcomes, 600.0)
    draws = Draws.make(outcomes.n, seed=3)
    noisy = risk + np.random.default_rng(0).normal(0, 0.1, outcomes.n)
    difference = concordance_difference(pairs, risk, noisy, draws)
    assert difference.half_width < concordance_interval(pairs, risk, draws).half_width / 2
    itself = concordance_difference(pairs, risk, risk, draws)
    assert (itself.low, itself.estimate, itself.high) == (0.0, 0.0, 0.0)


def test_the_same_seed_gives_the_same_interval(censored) -> None:
    outcomes, risk = censored
    pairs = ConcordancePairs.harrell(outcomes)
    first, second, other = (concordance_interval(pairs, risk, Draws.make(outcomes.n, seed)) for seed in (1, 1, 2))
    assert first == second
    assert first.low != other.low
    assert first.replicates == 1000


def test_skill_is_one_for_no_error_and_zero_for_the_null(censored) -> None:
    errors = np.random.default_rng(0).random(100)
    draws = Draws.make(100, seed=1)
    assert skill_interval(np.zeros(100), errors, draws).low == 1.0
    null = skill_interval(errors, errors, draws)
    assert (null.low, null.high) == (0.0, 0.0)


def test_observed_over_expected_has_an_interval(censored) -> None:
    outcomes, _ = censored
    observed = 1.0 - kaplan_meier(outcomes.time, outcomes.event).at(300.0)
    found = observed_expected_interval(outcomes, np.full(outcomes.n, observed), 300.0, Draws.make(outcomes.n, 1))
    assert found.estimate == pytest.approx(1.0)
    assert found.low < 1.0 < found.high


def test_a_metric_that_rarely_exists_has_no_interval() -> None:
    draws = Draws.make(3, seed=1, replicates=10)
    with pytest.raises(ValueError, match="only 2 of 10"):
        draws.interval(0.5, np.array([0.5, 0.6] + [np.nan] * 8))
    with pytest.raises(ValueError, match="at least one subject"):
        Draws.make(0, seed=1)


def test_a_thousand_replicates_of_rotterdam_take_seconds(cohort) -> None:
    data = cohort("breast")
    outcomes = data.outcomes(data.frame)
    risk = data.frame["nodes"].to_numpy()
    started = time.process_time()
    concordance_interval(ConcordancePairs.of(outcomes, 1826.25), risk, Draws.make(outcomes.n, 1))
    assert time.process_time() - started < 5.0
