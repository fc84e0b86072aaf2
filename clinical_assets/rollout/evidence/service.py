"""What the data plane counts: errors and slow answers of both variants, and the watch after promotion.

All tests read increments of cumulative counters; a counter that fell was reset and starts again at 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.rollout.evidence.detector import EDetector
from clinical_assets.rollout.evidence.errors import ErrorEvidence, objective_factors
from clinical_assets.rollout.evidence.latency import LatencyEvidence
from clinical_assets.rollout.evidence.news import Counters
from clinical_assets.rollout.plan import RolloutPlan


@dataclass(frozen=True)
class ServiceEvidence:
    """State of the service tests; `watched_since` is the clinical time up to which the watch's bets were put in."""

    errors: ErrorEvidence
    latency: tuple[LatencyEvidence, ...]
    watch: EDetector
    counters: Counters | None = None
    watched_since: float | None = None

    @classmethod
    def start(cls, plan: RolloutPlan) -> ServiceEvidence:
        return cls(ErrorEvidence.start(), tuple(LatencyEvidence.start() for _ in plan.latency), EDetector.start(4))

    def update(self, counters: Counters, plan: RolloutPlan, watching: bool, now: float) -> ServiceEvidence:
        """The counts at one look. The first look only fixes where counting begins."""
        fresh = {digest: tuple(int(n) for n in values) for digest, values in counters.items()}
        if self.counters is None:
            return replace(self, counters=fresh)
        champion = _increment(self.counters, fresh, plan.champion)
        challenger = _increment(self.counters, fresh, plan.challenger)
        moved = replace(
            self,
            errors=self.errors.update(champion[:2], challenger[:2], plan.error_objective),
            latency=self._slow(champion[2:], challenger[2:], plan),
            counters={**self.counters, **fresh},
        )
        return moved._watched(challenger[:2], plan, now) if watching else replace(moved, watched_since=None)

    def _slow(
        self, champion: tuple[int, ...], challenger: tuple[int, ...], plan: RolloutPlan
    ) -> tuple[LatencyEvidence, ...]:
        if not champion and not challenger:
            return self.latency
        nothing = (0,) * (1 + len(plan.latency))
        (n_a, *slow_a), (n_b, *slow_b) = champion or nothing, challenger or nothing
        rows = zip(self.latency, slow_a, slow_b, plan.latency, strict=True)
        return tuple(test.update((n_a, a), (n_b, b), limit.objective) for test, a, b, limit in rows)

    def _watched(self, challenger: tuple[int, int], plan: RolloutPlan, now: float) -> ServiceEvidence:
        """Put in one bet per clinical day of the watch, so that all false alarms together stay within its alpha."""
        days = 1.0 if self.watched_since is None else max(now - self.watched_since, 0.0) / SECONDS_PER_DAY
        factors = objective_factors(challenger, plan.error_objective)
        return replace(self, watch=self.watch.update(factors, days, challenger[0]), watched_since=now)

    def to_json(self) -> dict[str, Any]:
        counters = None if self.counters is None else {k: list(v) for k, v in sorted(self.counters.items())}
        return {
            "errors": self.errors.to_json(),
            "latency": [test.to_json() for test in self.latency],
            "watch": self.watch.to_json(),
            "counters": counters,
            "watched_since": self.watched_since,
        }

    @classmethod
    def from_json(cls, state: Mapping[str, Any]) -> ServiceEvidence:
        counters = state["counters"]
        return cls(
            ErrorEvidence.from_json(state["errors"]),
            tuple(LatencyEvidence.from_json(test) for test in state["latency"]),
            EDetector.from_json(state["watch"]),
            None if counters is None else {k: tuple(v) for k, v in counters.items()},
            state["watched_since"],
        )


def _increment(before: Counters, now: Counters, digest: str) -> tuple[Any, ...]:
    """(requests, errors, timed, slow...) since the last look; timed and slow only where both looks had them."""
    if digest not in now:
        return 0, 0
    values = now[digest]
    known = before.get(digest, (0,) * len(values))
    old = known if len(known) == len(values) else (*known[:2], *values[2:])
    grown = tuple(b - a for a, b in zip(old, values, strict=True))
    requests, errors, *slow = grown if min(grown) >= 0 else values
    timed = slow[0] if slow else 0
    return max(requests, errors), errors, *slow[:1], *(min(n, timed) for n in slow[1:])
