"""Non-inferiority with a shorter range: large loss differences are cut off, and what is cut off is bounded beforehand.

With both scores known, Z is at most `min(Z, c) + h(x)`, where `h = (w_max max(z0, z1) - c)+` needs no outcome. A pool
of unlabelled score pairs gives `eta >= E h` with confidence 1 - alpha_pool (betting bound), and
`W = delta - eta - min(Z, c)` tests `E Z >= delta` with bets up to 1/c instead of 1. A quarter of the wealth stays on
the bounded-mean test, and a guard watches the stream's own h: once it exceeds eta, the cut-off part counts no more.
The threshold is 1/(alpha - alpha_pool).

The null is about the population, and holds only if pool and stream come from the same one: the first patient of another
site or a later period ends the cut-off part (`seen_at`), and the plain part goes on.
Bets are shares of 1/c and do not depend on the pool, so that the patients of the pool may later be in the stream.
Bound: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", 2024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import FRACTIONS, EProcess, bet, bounded_mean
from clinical_assets.rollout.evidence.courses import Course, bets, log1p, multiplied
from clinical_assets.rollout.policy import POOL_ALPHA

CLIP = 0.3
"""c: loss differences above it are cut off."""

PLAIN_WEIGHT = 0.25
GUARD_BETS = (2.0, 8.0, 32.0)
GUARD_LIMIT = 10.0
"""The cut-off part is off for good once the guard's E reaches this; the guard can only lower the evidence."""

_POOL_FRACTIONS = (0.1, 0.3, 0.99)


@dataclass(frozen=True)
class Source:
    """Where the pool's patients were scored, and the clinical time up to which patients count as of its period."""

    sites: tuple[str, ...] = ("",)
    until: float = math.inf

    def covers(self, site: str, predicted_at: float) -> bool:
        return site in self.sites and predicted_at <= self.until


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
    """State of the test.

    Attributes:
        eta: tail bound fixed before the first outcome.
        source: sites and period of the pool.
        retired: a patient from outside them has come, or eta was not below the margin.
    """

    eta: float
    plain: EProcess
    clipped: EProcess
    guard: EProcess
    source: Source = Source()
    retired: bool = False
    log_peak: float = 0.0

    @classmethod
    def start(cls, eta: float, margin: float, source: Source = Source()) -> WinsorisedEvidence:
        """With a tail bound that is not below the margin only the plain part ever counts."""
        fresh = (bounded_mean(), bounded_mean(), EProcess.start((1 / 3, 1 / 3, 1 / 3)))
        return cls(eta, *fresh, source, not 0 < eta < margin)

    @property
    def guarded_off(self) -> bool:
        """Whether the cut-off part counts no more."""
        return self.retired or self.guard.log_peak >= math.log(GUARD_LIMIT)

    def seen_at(self, site: str, predicted_at: float) -> WinsorisedEvidence:
        """Retire the cut-off part at the first patient whom the pool does not represent."""
        return self if self.source.covers(site, predicted_at) else replace(self, retired=True)

    @property
    def log_e(self) -> float:
        if self.guarded_off:
            return math.log(PLAIN_WEIGHT) + self.plain.log_e
        return float(_log_mixture(self.plain.log_e, self.clipped.log_e))

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
        clipped, guard = self.clipped, self.guard
        if not self.guarded_off:
            gain = margin - self.eta - min(z, CLIP)
            clipped = clipped.multiply(tuple(math.log1p(f * gain / CLIP) for f in FRACTIONS))
            guard_bets = [min(b, 0.9 / self.eta) for b in GUARD_BETS]
            guard = guard.multiply(tuple(math.log1p(b * (h - self.eta)) for b in guard_bets))
        moved = replace(self, plain=plain, clipped=clipped, guard=guard)
        return replace(moved, log_peak=max(self.log_peak, moved.log_e))

    def follow(
        self, z: np.ndarray, h: np.ndarray, covered: np.ndarray, margin: float, max_weight: float = 1.0
    ) -> WinsorisedEvidence:
        """`seen_at` and `update` for n >= 1 patients in a row, all (n,); `covered` says whom the pool represents."""
        plain, along = multiplied(self.plain, bets(margin - z, margin - max_weight))
        outside = np.flatnonzero(~covered)
        moved = replace(self, plain=plain, retired=self.retired or bool(len(outside)))
        inside = 0 if self.guarded_off else int(outside[0]) if len(outside) else len(z)
        mixed, peak = inside, self.log_peak
        if inside:
            guard_bets = [min(b, 0.9 / self.eta) for b in GUARD_BETS]
            watched = [log1p(b * (h[:inside] - self.eta)) for b in guard_bets]
            tripped = multiplied(self.guard, watched)[1].first_reaching(math.log(GUARD_LIMIT))
            if tripped is not None:
                inside, mixed = tripped + 1, tripped
            gain = margin - self.eta - np.minimum(z[:inside], CLIP)
            clipped, cut = multiplied(self.clipped, [log1p(f * gain / CLIP) for f in FRACTIONS])
            guard, _ = multiplied(self.guard, [factors[:inside] for factors in watched])
            moved = replace(moved, clipped=clipped, guard=guard)
            if mixed:
                peak = max(peak, _mixture(along.part(0, mixed), cut.part(0, mixed)).highest())
        if mixed < len(z):
            peak = max(peak, math.log(PLAIN_WEIGHT) + along.part(mixed, len(z)).highest())
        return replace(moved, log_peak=peak)

    def to_json(self) -> dict[str, Any]:
        parts = {"plain": self.plain.to_json(), "clipped": self.clipped.to_json(), "guard": self.guard.to_json()}
        until = None if math.isinf(self.source.until) else self.source.until
        source = {"sites": list(self.source.sites), "until": until}
        return {"eta": self.eta, **parts, "source": source, "retired": self.retired, "peak": self.log_peak}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> WinsorisedEvidence:
        plain, clipped, guard = (EProcess.from_json(state[name]) for name in ("plain", "clipped", "guard"))
        sites, until = tuple(state["source"]["sites"]), state["source"]["until"]
        source = Source(sites, math.inf if until is None else until)
        return cls(state["eta"], plain, clipped, guard, source, state["retired"], state["peak"])


def _log_mixture(plain: Any, clipped: Any) -> Any:
    return np.logaddexp(math.log(PLAIN_WEIGHT) + plain, math.log(1 - PLAIN_WEIGHT) + clipped)


def _mixture(plain: Course, clipped: Course) -> Course:
    def exactly(i: int) -> float:
        return float(_log_mixture(plain.exactly(i), clipped.exactly(i)))

    return Course(_log_mixture(plain.rough, clipped.rough), exactly, plain.changed | clipped.changed)
