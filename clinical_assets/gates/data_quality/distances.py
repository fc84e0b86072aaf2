"""How far two samples of one column lie apart, with what certainty: population stability index and two other distances.

The index is PSI = sum over cells of (p - q) ln(p / q), here with half a count added to every cell. Under no drift it is
about chi-squared times (1/n + 1/m) (Yurdakul 2018), so its expectation, (cells - 1)(1/n + 1/m), is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELLS = 10


@dataclass(frozen=True)
class Drift:
    """`psi` less its expectation under no drift, `error` its standard error, `p` that of Pearson's chi-squared test;
    `jensen_shannon` (distance, base 2); `wasserstein` in standard deviations of the reference, None for categories.
    """

    psi: float
    error: float
    p: float
    jensen_shannon: float
    wasserstein: float | None
    n_reference: int
    n_current: int

    def at_least(self, level: float) -> float:
        """Lower limit of the index with one-sided confidence `level`."""
        from scipy.stats import norm

        return self.psi - float(norm.ppf(level)) * self.error


def numeric_drift(reference: np.ndarray, current: np.ndarray) -> Drift:
    """Over the deciles of the reference; both samples finite, (n,) and (m,)."""
    from scipy.stats import wasserstein_distance

    edges = np.unique(np.quantile(reference, np.arange(1, CELLS) / CELLS))
    before, now = (np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) for side in (reference, current))
    spread = float(np.std(reference))
    distance = float(wasserstein_distance(reference, current)) / spread if spread > 0 else None
    return categorical_drift(before, now, distance)


def categorical_drift(reference: np.ndarray, current: np.ndarray, wasserstein: float | None = None) -> Drift:
    """Counts per category, both (k,), in the same order; a category with no row on either side is left out."""
    from scipy.stats import chi2

    present = (reference + current) > 0
    q_counts, p_counts = reference[present].astype(np.float64), current[present].astype(np.float64)
    m, n, k = q_counts.sum(), p_counts.sum(), len(q_counts)
    if k < 2 or min(m, n) == 0:
        return Drift(0.0, 0.0, 1.0, 0.0, wasserstein, int(m), int(n))
    q, p = (q_counts + 0.5) / (m + 0.5 * k), (p_counts + 0.5) / (n + 0.5 * k)
    log_ratio = np.log(p / q)
    index = float(((p - q) * log_ratio).sum()) - (k - 1) * (1.0 / m + 1.0 / n)
    by_p, by_q = log_ratio + 1.0 - q / p, -log_ratio + 1.0 - p / q
    variance = _spread(p, by_p) / n + _spread(q, by_q) / m
    pooled = (p_counts + q_counts) / (m + n)
    statistic = float(((p_counts - n * pooled) ** 2 / (n * pooled) + (q_counts - m * pooled) ** 2 / (m * pooled)).sum())
    tail = float(chi2.sf(statistic, k - 1))
    return Drift(
        index, float(np.sqrt(variance)), tail, _jensen_shannon(p_counts / n, q_counts / m), wasserstein, int(m), int(n)
    )


def _spread(share: np.ndarray, gradient: np.ndarray) -> float:
    """Variance of a gradient over a multinomial draw (delta method)."""
    return float((share * gradient**2).sum() - (share * gradient).sum() ** 2)


def _jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    middle = (p + q) / 2.0
    divergence = sum(float((one[one > 0] * np.log2(one[one > 0] / middle[one > 0])).sum()) / 2.0 for one in (p, q))
    return float(np.sqrt(max(divergence, 0.0)))
