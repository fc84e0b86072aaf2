"""Patient-clustered bootstrap: subjects are drawn, not rows; the same draws serve every metric and both models.

Draws are kept as counts (replicates, n), so that a concordance is two matrix products and a mean is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes

REPLICATES = 1000


@dataclass(frozen=True)
class Interval:
    """Percentile interval; `replicates` counts the samples in which the metric existed."""

    estimate: float
    low: float
    high: float
    standard_error: float
    replicates: int
    seed: int
    level: float = 0.95

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2.0


@dataclass(frozen=True)
class Draws:
    """`counts` (b, n): how often each row is in each replicate."""

    counts: np.ndarray
    seed: int

    @classmethod
    def make(cls, clusters: np.ndarray | int, seed: int, replicates: int = REPLICATES) -> Draws:
        """Draw whole clusters (subject identifiers, or n for one row each) with replacement.

        Raises:
            ValueError: no subject.
        """
        if isinstance(clusters, int | np.integer):
            membership = np.arange(clusters)
        else:
            membership = np.unique(clusters, return_inverse=True)[1]
        if len(membership) == 0:
            raise ValueError("a bootstrap needs at least one subject")
        groups = int(membership.max()) + 1
        rng = np.random.default_rng(seed)
        drawn = rng.integers(0, groups, size=(replicates, groups), dtype=np.int32)
        flat = drawn + np.arange(replicates, dtype=np.int64)[:, None] * groups
        counts = np.bincount(flat.ravel(), minlength=replicates * groups).reshape(replicates, groups)
        return cls(counts[:, membership].astype(np.float32), seed)

    def interval(self, estimate: float, values: np.ndarray, level: float = 0.95) -> Interval:
        """Percentile interval of replicate `values` (b,); NaN replicates are left out and counted out.

        Raises:
            ValueError: the metric existed in fewer than half of the replicates.
        """
        found = values[np.isfinite(values)]
        if len(found) < len(values) / 2:
            raise ValueError(f"the metric exists in only {len(found)} of {len(values)} bootstrap samples")
        tail = 100.0 * (1.0 - level) / 2.0
        low, high = np.percentile(found, [tail, 100.0 - tail])
        return Interval(estimate, float(low), float(high), float(found.std(ddof=1)), len(found), self.seed, level)


def concordance_interval(pairs: ConcordancePairs, risk: np.ndarray, draws: Draws) -> Interval:
    """Interval of a concordance; censoring weights stay those of the sample."""
    return draws.interval(pairs.concordance(risk), pairs.replicates(risk, draws.counts))


def concordance_difference(pairs: ConcordancePairs, risk: np.ndarray, other: np.ndarray, draws: Draws) -> Interval:
    """Interval of concordance(risk) - concordance(other) on the same subjects and draws."""
    values = pairs.replicates(risk, draws.counts) - pairs.replicates(other, draws.counts)
    return draws.interval(pairs.concordance(risk) - pairs.concordance(other), values)


def mean_interval(values: np.ndarray, draws: Draws) -> Interval:
    """Interval of a mean over subjects of `values` (n,)."""
    return draws.interval(float(values.mean()), _weighted_mean(values, draws))


def skill_interval(errors: np.ndarray, null_errors: np.ndarray, draws: Draws) -> Interval:
    """Interval of 1 - mean(errors) / mean(null_errors), as for the integrated Brier score against Kaplan-Meier."""
    estimate = 1.0 - float(errors.mean() / null_errors.mean())
    return draws.interval(estimate, 1.0 - _weighted_mean(errors, draws) / _weighted_mean(null_errors, draws))


def observed_expected_interval(outcomes: Outcomes, risk: np.ndarray, horizon: float | None, draws: Draws) -> Interval:
    """Interval of observed / expected risk at `horizon`, Kaplan-Meier refitted in every replicate."""
    expected = _weighted_mean(risk, draws)
    observed = risk_replicates(outcomes, horizon, draws)
    whole = risk_replicates(outcomes, horizon, Draws(np.ones((1, outcomes.n), dtype=np.float32), draws.seed))
    return draws.interval(float(whole[0] / risk.mean()), observed / expected)


def risk_replicates(outcomes: Outcomes, horizon: float | None, draws: Draws) -> np.ndarray:
    """(b,) observed risk in each replicate: Kaplan-Meier at `horizon`, or the share of positive labels."""
    if outcomes.kind == "binary":
        return _weighted_mean(outcomes.flag.astype(np.float64), draws)
    order = np.argsort(outcomes.times(), kind="stable")
    time, event = outcomes.times()[order], outcomes.flag[order]
    counts = draws.counts[:, order].astype(np.float64)
    starts = np.unique(time, return_index=True)[1]
    used = time[starts] <= (horizon or 0.0)
    at_risk = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1][:, starts][:, used]
    deaths = np.add.reduceat(counts * event, starts, axis=1)[:, used]
    factors = 1.0 - np.divide(deaths, at_risk, out=np.zeros_like(deaths), where=at_risk > 0)
    return 1.0 - factors.prod(axis=1)


def _weighted_mean(values: np.ndarray, draws: Draws) -> np.ndarray:
    return (draws.counts @ values) / draws.counts.sum(axis=1)
