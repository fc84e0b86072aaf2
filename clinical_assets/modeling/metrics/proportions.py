"""Weighted proportions and their differences, with intervals that hold near 0 and 1 and without resampling.

Weights are those of inverse-probability-of-censoring estimates; Kish's effective number of patients stands for n.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr


@dataclass(frozen=True)
class Share:
    """`value`: weighted share; `size`: effective number of patients (Kish 1965), sum(w)^2 / sum(w^2)."""

    value: float
    size: float

    @classmethod
    def of(cls, weight: np.ndarray, hit: np.ndarray) -> Share:
        """Of the patients with positive `weight` (n,), the share for whom `hit` (n,) holds; NaN without patients."""
        total = float(weight.sum())
        if total <= 0.0:
            return cls(float("nan"), 0.0)
        return cls(float(weight @ hit) / total, total**2 / float(weight @ weight))

    def bounds(self, z: float) -> tuple[float, float]:
        """Wilson's score interval (Wilson 1927) at the normal quantile `z`."""
        if not self.size > 0.0:
            return 0.0, 1.0
        spread = z * z / self.size
        middle = (self.value + spread / 2.0) / (1.0 + spread)
        half = np.sqrt(self.value * (1.0 - self.value) * spread + spread**2 / 4.0) / (1.0 + spread)
        return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def newcombe(own: Share, others: Share, z: float) -> tuple[float, float]:
    """Interval of own - others for independent shares: hybrid score, method 10 of Newcombe (1998)."""
    (low, high), (other_low, other_high) = own.bounds(z), others.bounds(z)
    gap = own.value - others.value
    return (
        gap - float(np.hypot(own.value - low, other_high - others.value)),
        gap + float(np.hypot(high - own.value, others.value - other_low)),
    )


def ratio_bounds(own: Share, others: Share, z: float) -> tuple[float, float]:
    """Interval of own / others on the log scale (Katz et al. 1978); half a patient stands for an empty numerator."""
    a, b = (max(share.value, 0.5 / max(share.size, 1.0)) for share in (own, others))
    error = np.sqrt((1.0 - a) / (a * max(own.size, 1.0)) + (1.0 - b) / (b * max(others.size, 1.0)))
    return float(a / b * np.exp(-z * error)), float(a / b * np.exp(z * error))


def equality_p(own: Share, others: Share) -> float:
    """Two-sided p-value of equal shares, by the pooled z test; 1 where both are 0 or both are 1."""
    if not min(own.size, others.size) > 0.0:
        return 1.0
    pooled = (own.value * own.size + others.value * others.size) / (own.size + others.size)
    error = np.sqrt(pooled * (1.0 - pooled) * (1.0 / own.size + 1.0 / others.size))
    return float(2.0 * ndtr(-abs(own.value - others.value) / error)) if error > 0.0 else 1.0
