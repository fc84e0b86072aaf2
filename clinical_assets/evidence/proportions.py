"""How many of a group had the event, with a 95 % interval: Kaplan-Meier with Greenwood's variance, or a proportion."""

from __future__ import annotations

import math

import numpy as np

from clinical_assets.modeling.outcomes import Outcomes

_Z = 1.959963984540054


def event_risk(outcomes: Outcomes, horizon: float | None) -> tuple[float, float, float]:
    """Estimate, low, high. Survival: 1 - Kaplan-Meier at `horizon`, log-log interval (Kalbfleisch & Prentice 1980).
    Binary: the share of positive labels, Wilson's interval (1927)."""
    if outcomes.kind == "binary":
        return wilson(outcomes.events, outcomes.n)
    return greenwood(outcomes.times(), outcomes.flag, float(horizon or 0.0))


def greenwood(time: np.ndarray, event: np.ndarray, horizon: float) -> tuple[float, float, float]:
    """Event probability by `horizon` days. Without an event, the upper bound is that of Wilson for those at risk."""
    steps, inverse = np.unique(time, return_inverse=True)
    deaths = np.bincount(inverse, weights=event, minlength=len(steps))
    at_risk = len(time) - np.concatenate(([0.0], np.cumsum(np.bincount(inverse))[:-1]))
    used = (steps <= horizon) & (deaths > 0)
    survival = float(np.prod(1.0 - deaths[used] / at_risk[used]))
    if survival in (0.0, 1.0):
        low, high = wilson(0, max(int((time >= min(horizon, time.max())).sum()), 1))[1:]
        return (0.0, low, high) if survival == 1.0 else (1.0, 1.0 - high, 1.0)
    spread = float(np.sum(deaths[used] / (at_risk[used] * (at_risk[used] - deaths[used]))))
    error = _Z * math.sqrt(spread) / abs(math.log(survival))
    return 1.0 - survival, 1.0 - survival ** math.exp(-error), 1.0 - survival ** math.exp(error)


def wilson(events: int, n: int) -> tuple[float, float, float]:
    share = events / n
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / (1 + _Z**2 / n)
    return share, max(0.0, centre - half), min(1.0, centre + half)
