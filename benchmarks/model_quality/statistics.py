"""Comparing learning procedures: within one cohort over folds, and over many cohorts.

Within a cohort the folds of a repeated cross-validation share training subjects, so that an ordinary paired t-test
calls equal procedures different far too often; the corrected test of Nadeau & Bengio (2003) is used instead. Over
cohorts, which are independent, Demsar (2006) recommends ranks: Friedman's test, Nemenyi's critical difference, and
Wilcoxon's signed-rank test for one pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Difference:
    """Mean paired difference, its confidence interval and two-sided p-value; `count` differences went in."""

    mean: float
    low: float
    high: float
    p_value: float
    count: int


def resampled_t(differences: np.ndarray, test_to_train: float, confidence: float = 0.95) -> Difference:
    """Corrected resampled t-test (Nadeau & Bengio 2003; for repeated cross-validation Bouckaert & Frank 2004).

    Args:
        differences: (J,) differences of a measure, one for each fold of each repeat.
        test_to_train: subjects tested / subjects trained on in one fold; 1 / (k - 1) for k folds.

    The variance of the mean is (1/J + test_to_train) times the sample variance, with J - 1 degrees of freedom.

    Raises:
        ValueError: fewer than two differences.
    """
    return _t_interval(differences, 1.0 / len(differences) + test_to_train, confidence)


def independent_t(differences: np.ndarray, confidence: float = 0.95) -> Difference:
    """Student's paired t-test for independent differences (J,), one for each cohort."""
    return _t_interval(differences, 1.0 / len(differences), confidence)


def _t_interval(differences: np.ndarray, factor: float, confidence: float) -> Difference:
    count = len(differences)
    if count < 2:
        raise ValueError(f"{count} differences say nothing about their spread; at least 2 are needed")
    mean, variance = float(np.mean(differences)), float(np.var(differences, ddof=1))
    error = float(np.sqrt(factor * variance))
    if error == 0.0:
        return Difference(mean, mean, mean, 1.0 if mean == 0.0 else 0.0, count)
    reach = float(stats.t.ppf(0.5 + confidence / 2, count - 1)) * error
    return Difference(mean, mean - reach, mean + reach, float(2 * stats.t.sf(abs(mean) / error, count - 1)), count)


def holm(p_values: np.ndarray) -> np.ndarray:
    """(m,) p-values adjusted for m tests (Holm 1979); those at or below a level keep the family-wise error there."""
    order = np.argsort(p_values, kind="stable")
    m = len(order)
    stepped = np.maximum.accumulate(p_values[order] * np.arange(m, 0, -1))
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def mean_ranks(scores: np.ndarray) -> np.ndarray:
    """(k,) mean rank over cohorts of `scores` (cohorts, k), 1 for the highest; ties share their ranks."""
    return stats.rankdata(-scores, axis=1).mean(axis=0)


@dataclass(frozen=True)
class RankTest:
    """Friedman's chi-square and Iman & Davenport's F from it, with the p-value of the latter."""

    chi_square: float
    f: float
    p_value: float


def friedman(scores: np.ndarray) -> RankTest:
    """Are the k procedures equally good over the cohorts? `scores` (cohorts, k), Demsar (2006), section 3.2.1.

    The chi-square carries no correction for ties, as there.
    """
    cohorts, k = scores.shape
    ranks = mean_ranks(scores)
    chi_square = float(12 * cohorts / (k * (k + 1)) * (np.sum(ranks**2) - k * (k + 1) ** 2 / 4))
    rest = cohorts * (k - 1) - chi_square
    f = float((cohorts - 1) * chi_square / rest) if rest > 0 else float("inf")
    return RankTest(chi_square, f, float(stats.f.sf(f, k - 1, (k - 1) * (cohorts - 1))))


def critical_difference(k: int, cohorts: int, level: float = 0.05) -> float:
    """Nemenyi (1963): mean ranks of `k` procedures over `cohorts` that differ by more are different at `level`."""
    quantile = stats.studentized_range.ppf(1 - level, k, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(k * (k + 1) / (6 * cohorts)))


def signed_rank(differences: np.ndarray) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test; zero differences are shared between the signs (Pratt 1959)."""
    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="zsplit").pvalue)
