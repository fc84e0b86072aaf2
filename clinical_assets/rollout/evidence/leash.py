"""A challenger on a leash: it may differ from the champion by at most so many points of risk.

The leashed score is what must be deployed and judged. Because no loss difference can exceed `r (2 - r)`, the bets of
the bounded-mean test may be that much larger, at no further assumption (r = .15: cap 3.6 instead of 1).
"""

from __future__ import annotations

RADIUS = 0.15


def leashed(challenger: float, champion: float, radius: float = RADIUS) -> float:
    """The challenger's risk, moved to within `radius` of the champion's; both in [0, 1]."""
    return min(max(challenger, champion - radius), champion + radius)


def loss_bound(radius: float = RADIUS, max_weight: float = 1.0) -> float:
    """Largest weighted Brier difference between champion and leashed challenger.

    The difference is `d (p_B + p_A - 2 y)` with |d| <= r; scores within [0, 1] leave at most 2 - r for the rest.

    Raises:
        ValueError: a radius outside (0, 1].
    """
    if not 0 < radius <= 1:
        raise ValueError(f"leash radius {radius}: need 0 < radius <= 1")
    return max_weight * radius * (2 - radius)
