"""The comparison of procedures against published examples, other libraries, closed forms and simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from benchmarks.model_quality.size import false_alarms
from benchmarks.model_quality.statistics import (
    critical_difference,
    friedman,
    holm,
    independent_t,
    mean_ranks,
    resampled_t,
    signed_rank,
)

DEMSAR_TABLE_6 = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.97501, 0.975],  # printed as .975 twice; the paper's ranks are of the unrounded values
        [0.957, 0.978, 0.946, 0.970],
    ]
)
"""AUC of C4.5, C4.5+m, C4.5+cf and C4.5+m+cf on 14 data sets (Demsar 2006)."""

differences = arrays(np.float64, st.integers(2, 20), elements=st.floats(-1, 1).map(lambda value: round(value, 6)))


def test_corrected_t_test_reproduces_the_published_comparison_of_two_support_vector_machines() -> None:
    """scikit-learn, "Statistical comparison of models using grid search": corrected t-value 0.750, p-value 0.227."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.svm import SVC

    rows, label = make_moons(noise=0.352, random_state=1, n_samples=100)
    folds = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    scores = [
        cross_val_score(SVC(kernel=kernel, random_state=0), rows, label, scoring="roc_auc", cv=folds)
        for kernel in ("rbf", "linear")
    ]
    found = resampled_t(scores[0] - scores[1], test_to_train=10 / 90)
    assert found.p_value / 2 == pytest.approx(0.227, abs=5e-4)
    assert stats.t.isf(found.p_value / 2, 99) == pytest.approx(0.750, abs=5e-4)


@given(differences)
def test_without_shared_training_subjects_it_is_the_ordinary_t_test(values: np.ndarray) -> None:
    assume(np.ptp(values) > 1e-3)
    found, expected = resampled_t(values, 0.0), stats.ttest_1samp(values, 0.0)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert independent_t(values) == found


@given(differences, st.floats(0.01, 1.0))
def test_the_correction_only_widens_and_the_interval_agrees_with_the_p_value(values: np.ndarray, share: float) -> None:
    plain, corrected = resampled_t(values, 0.0), resampled_t(values, share)
    assert corrected.high - corrected.low >= plain.high - plain.low
    assert corrected.p_value >= plain.p_value - 1e-12
    if abs(corrected.p_value - 0.05) > 1e-6:
        assert (corrected.p_value < 0.05) == (corrected.low > 0 or corrected.high < 0)


def test_equal_folds_are_no_difference_and_one_fold_is_no_evidence() -> None:
    assert resampled_t(np.zeros(10), 0.25).p_value == 1.0
    with pytest.raises(ValueError, match="at least 2"):
        resampled_t(np.array([0.1]), 0.25)


def test_equal_procedures_are_called_different_no_more_often_than_announced() -> None:
    """A/A on simulated cohorts. The ordinary t-test fails the same check, so that the check can fail."""
    found = false_alarms(subjects=80, repeats=2, datasets=250, seed=7)
    three_errors = 3 * found["monte_carlo_error"]
    assert found["corrected"] <= 0.05 + three_errors
    assert found["uncorrected"] > 0.05 + three_errors


def test_holm_agrees_with_r() -> None:
    """`p.adjust(c(.05, .01, .03, .02, .04), "holm")`."""
    assert holm(np.array([0.05, 0.01, 0.03, 0.02, 0.04])) == pytest.approx([0.09, 0.05, 0.09, 0.08, 0.09])


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(0, 1)), st.floats(0.001, 0.5))
def test_holm_rejects_what_its_step_down_procedure_rejects(p_values: np.ndarray, level: float) -> None:
    rejected = set()
    for step, index in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[index] * (len(p_values) - step) > level:
            break
        rejected.add(int(index))
    assert set(np.flatnonzero(holm(p_values) <= level)) == rejected


def test_friedman_and_nemenyi_reproduce_the_example_of_demsar() -> None:
    assert mean_ranks(DEMSAR_TABLE_6) == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    found = friedman(DEMSAR_TABLE_6)
    assert (found.chi_square, found.f) == pytest.approx((9.28, 3.69), abs=0.015)
    assert found.p_value < 0.05  # the paper: critical value of F(3, 39) is 2.85
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert critical_difference(4, 14, level=0.10) == pytest.approx(1.12, abs=0.005)


@pytest.mark.parametrize(("k", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (6, 2.850), (10, 3.164)])
def test_critical_values_are_those_of_the_published_table(k: int, quantile: float) -> None:
    cohorts = 30
    assert critical_difference(k, cohorts) / np.sqrt(k * (k + 1) / (6 * cohorts)) == pytest.approx(quantile, abs=1e-3)


def test_friedman_without_ties_is_scipys() -> None:
    scores = np.random.default_rng(3).random((20, 5))
    assert friedman(scores).chi_square == pytest.approx(stats.friedmanchisquare(*scores.T).statistic)


def test_friedman_finds_5_percent_of_equal_procedures_different() -> None:
    rng = np.random.default_rng(11)
    share = np.mean([friedman(rng.random((20, 6))).p_value < 0.05 for _ in range(1500)])
    assert share == pytest.approx(0.05, abs=0.017)


def test_signed_rank_is_the_share_of_sign_flips_as_extreme() -> None:
    values = np.array([0.031, -0.012, 0.044, 0.025, 0.006, 0.018, -0.003, 0.027])
    ranks = stats.rankdata(np.abs(values))
    flips = np.array(list(itertools.product([0, 1], repeat=len(values)))) @ ranks
    observed = ranks[values > 0].sum()
    extreme = np.abs(flips - ranks.sum() / 2) >= abs(observed - ranks.sum() / 2)
    assert signed_rank(values) == pytest.approx(extreme.mean())
    assert signed_rank(np.zeros(5)) == 1.0
