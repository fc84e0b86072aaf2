"""How many of a group had the event, with a 95 % interval: Kaplan-Meier with Greenwood's variance, or a proportion."""

from __future__ import annotations

import math

import numpy as np

from clinical_assets.modeling.metrics.proportions import Share
from clinical_assets.modeling.outcomes import Outcomes

_Z = 1.959963984540054


def event_risk(outcomes: Outcomes, horizon: float | None) -> tuple[float, float, float]:
    """Estimate, low, high. Survival: 1 - Kaplan-Meier at `horizon`, log-log interval (Kalbfleisch & Prentice 1980).
    Binary: the share of positive labels, Wilson's interval (1927)."""
    if outcomes.kind == "binary":
        return wilson(outcomes.events, outcomes.n)
    return greenwood(outcomes.times(), outcomes.flag, float(horizon or 0.0))


def greenwood(time: np.ndarray, event: np.ndarray, horizon: float) -> tuple[float, float, float]:
    """Event probability by `horizon` days. Where nobody, or everybody, had the event, Wilson's interval stands in."""
    steps, inverse = np.unique(time, return_inverse=True)
    deaths = np.bincount(inverse, weights=event, minlength=len(steps))
    at_risk = len(time) - np.concatenate(([0.0], np.cumsum(np.bincount(inverse))[:-1]))
    used = (steps <= horizon) & (deaths > 0)
    survival = float(np.prod(1.0 - deaths[used] / at_risk[used]))
    if survival == 1.0:
        return wilson(0, int((time >= min(horizon, time.max())).sum()))
    if survival == 0.0:
        return wilson(len(time), len(time))
    spread = float(np.sum(deaths[used] / (at_risk[used] * (at_risk[used] - deaths[used]))))
    error = _Z * math.sqrt(spread) / abs(math.log(survival))
    return 1.0 - survival, 1.0 - survival ** math.exp(-error), 1.0 - survival ** math.exp(error)


def wilson(events: int, n: int) -> tuple[float, float, float]:
    return events / n, *Share(events / n, float(n)).bounds(_Z)
