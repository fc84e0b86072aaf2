"""Non-inferiority with a shorter range: large loss differences are cut off, and what is cut off is bounded beforehand.

With both scores known, Z is at most `min(Z, c) + h(x)`, where `h = (w_max max(z0, z1) - c)+` needs no outcome. A pool
of unlabelled score pairs gives `eta >= E h` with confidence 1 - alpha_pool (betting bound), and
`W = delta - eta - min(Z, c)` tests `E Z >= delta` with bets up to 1/c instead of 1. A quarter of the wealth stays on
the bounded-mean test, and a guard watches the stream's own h: once it exceeds eta, the cut-off part counts no more.
The threshold is 1/(alpha - alpha_pool).

The null is about the population, and holds only if pool and stream come from the same one: `require_same_source`.
Bets are shares of 1/c and do not depend on the pool, so that the patients of the pool may later be in the stream.
Bound: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import FRACTIONS, EProcess, bet, bounded_mean

CLIP = 0.3
"""c: loss differences above it are cut off."""

POOL_ALPHA = 0.01
POOL_MINIMUM = 20_000
"""Score pairs below which the tail bound is so wide that the plain test is quicker (2,000 pairs: eta = .56 delta)."""

PLAIN_WEIGHT = 0.25
GUARD_BETS = (2.0, 8.0, 32.0)
GUARD_LIMIT = 10.0
"""The cut-off part is off for good once the guard's E reaches this; the guard can only lower the evidence."""

_POOL_FRACTIONS = (0.1, 0.3, 0.99)


class DifferentSource(ValueError):
    """Pool and stream are not samples of the same patients; the cut-off test would not hold its error rate."""


@dataclass(frozen=True)
class Source:
    """Where and when patients were scored. `first`, `last`: clinical seconds."""

    sites: frozenset[str]
    first: float
    last: float


def require_same_source(pool: Source, stream: Source, slack_s: float) -> None:
    """
    Args:
        slack_s: how far the stream may reach beyond the pool's period on either side.

    Raises:
        DifferentSource: another site, or a period that the pool does not cover; use the bounded-mean test.
    """
    if pool.sites != stream.sites:
        only = ", ".join(sorted(pool.sites ^ stream.sites))
        raise DifferentSource(f"pool and stream differ in site: {only} is in one only; use the bounded-mean test")
    if stream.first < pool.first - slack_s or stream.last > pool.last + slack_s:
        raise DifferentSource(
            f"the stream ({stream.first:.0f}..{stream.last:.0f} s) reaches beyond the period of the pool "
            f"({pool.first:.0f}..{pool.last:.0f} s) by more than {slack_s:.0f} s; use the bounded-mean test"
        )


def tail(challenger: Any, champion: Any, max_weight: float = 1.0) -> Any:
    """h(x): by how much the largest possible loss difference of a patient exceeds the clip. Scalars or (n,) arrays."""
    event_free = np.square(challenger) - np.square(champion)
    event = np.square(1 - np.asarray(challenger)) - np.square(1 - np.asarray(champion))
    return np.maximum(max_weight * np.maximum(event_free, event) - CLIP, 0.0)


def tail_bound(tails: np.ndarray, max_weight: float = 1.0, alpha: float = POOL_ALPHA) -> float:
    """Upper confidence limit `eta` of E h at level 1 - alpha, from the (n,) tails of the pool; no distribution assumed.

    The largest mean that bets on "h is lower" have not refuted; they gain `1 + f (eta - h) / (h_max - eta)`.
    """
    widest = max_weight - CLIP
    low, high = 0.0, widest
    values, counts = np.unique(np.asarray(tails, dtype=float), return_counts=True)

    def refuted(eta: float) -> bool:
        wealth = [(counts * np.log1p(f * (eta - values) / (widest - eta))).sum() for f in _POOL_FRACTIONS]
        return np.logaddexp.reduce(wealth) - math.log(len(_POOL_FRACTIONS)) >= -math.log(alpha)

    if not refuted(widest * (1 - 1e-9)):
        return widest
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if refuted(middle) else (middle, high)
    return high


@dataclass(frozen=True)
class WinsorisedEvidence:
    """State of the test; `eta` is the tail bound fixed before the first outcome."""

    eta: float
    plain: EProcess
    clipped: EProcess
    guard: EProcess
    log_peak: float = 0.0

    @classmethod
    def start(cls, eta: float, margin: float) -> WinsorisedEvidence:
        """
        Raises:
            ValueError: eta is not below the margin: the pool is too small or the models differ too much.
        """
        if not 0 < eta < margin:
            raise ValueError(f"tail bound {eta:.3g} is not below the margin {margin:.3g}; use the bounded-mean test")
        return cls(eta, bounded_mean(), bounded_mean(), EProcess.start((1 / 3, 1 / 3, 1 / 3)))

    @property
    def guarded_off(self) -> bool:
        return self.guard.log_peak >= math.log(GUARD_LIMIT)

    @property
    def log_e(self) -> float:
        plain = math.log(PLAIN_WEIGHT) + self.plain.log_e
        if self.guarded_off:
            return plain
        return float(np.logaddexp(plain, math.log(1 - PLAIN_WEIGHT) + self.clipped.log_e))

    def proves(self, alpha: float) -> bool:
        """Whether non-inferiority was shown at level `alpha`, the pool's share included.

        Once the guard has tripped only the plain part's own rejection stands.
        """
        needed = -math.log(alpha - POOL_ALPHA)
        if self.guarded_off:
            return self.plain.log_peak + math.log(PLAIN_WEIGHT) >= needed
        return self.log_peak >= needed

    def update(self, z: float, h: float, margin: float, max_weight: float = 1.0) -> WinsorisedEvidence:
        """One mature patient: loss difference `z`, tail `h` (see `tail`)."""
        plain = bet(self.plain, margin - z, margin - max_weight)
        clipped = self.clipped
        if not self.guarded_off:
            gain = margin - self.eta - min(z, CLIP)
            clipped = clipped.multiply(tuple(math.log1p(f * gain / CLIP) for f in FRACTIONS))
        guard = self.guard.multiply(tuple(math.log1p(min(b, 0.9 / self.eta) * (h - self.eta)) for b in GUARD_BETS))
        moved = WinsorisedEvidence(self.eta, plain, clipped, guard, self.log_peak)
        return WinsorisedEvidence(self.eta, plain, clipped, guard, max(self.log_peak, moved.log_e))

    def to_json(self) -> dict[str, Any]:
        parts = {"plain": self.plain.to_json(), "clipped": self.clipped.to_json(), "guard": self.guard.to_json()}
        return {"eta": self.eta, **parts, "peak": self.log_peak}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> WinsorisedEvidence:
        plain, clipped, guard = (EProcess.from_json(state[name]) for name in ("plain", "clipped", "guard"))
        return cls(state["eta"], plain, clipped, guard, state["peak"])
