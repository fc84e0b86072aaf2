from __future__ import annotations

import numpy as np
import pytest

from clinical_assets.modeling.metrics.proportions import Share, equality_p, newcombe, ratio_bounds

Z = 1.959964


def share(hits: int, n: int) -> Share:
    return Share.of(np.ones(n), np.arange(n) < hits)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_as_published_by_newcombe_1998_table_1(hits, n, low, high):
    assert share(hits, n).bounds(Z) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("own", "others", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_difference_as_published_by_newcombe_1998_method_10(own, others, low, high):
    assert newcombe(share(*own), share(*others), Z) == pytest.approx((low, high), abs=5e-5)


def test_equal_weights_count_as_patients_and_unequal_ones_as_fewer():
    assert share(3, 10).size == 10
    assert Share.of(np.array([1.0, 1.0, 4.0]), np.array([True, False, True])).size == pytest.approx(36 / 18)
    assert np.isnan(Share.of(np.zeros(3), np.ones(3, dtype=bool)).value)
    assert Share(float("nan"), 0.0).bounds(Z) == (0.0, 1.0)


def test_ratio_interval_is_the_log_interval_of_katz():
    low, high = ratio_bounds(share(30, 100), share(60, 120), Z)
    error = np.sqrt(1 / 30 - 1 / 100 + 1 / 60 - 1 / 120)
    assert (low, high) == pytest.approx((0.6 * np.exp(-Z * error), 0.6 * np.exp(Z * error)))
    assert ratio_bounds(share(0, 50), share(10, 50), Z)[0] > 0.0


def test_equality_is_the_chi_square_test_of_two_proportions():
    from scipy.stats import chi2_contingency

    expected = chi2_contingency([[30, 70], [60, 60]], correction=False).pvalue
    assert equality_p(share(30, 100), share(60, 120)) == pytest.approx(expected)
    assert equality_p(share(0, 10), share(0, 20)) == 1.0
