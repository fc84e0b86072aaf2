"""Slow answers as rates: how many requests took longer than the champion's own p50, p95 and p99 did before the rollout.

A quantile of a histogram moves in jumps and has no simple test; the share of requests above a fixed time is a rate like
that of errors, with the same two tests. The objective allows a rate somewhat above the champion's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.errors import ratio_test

QUANTILES = (0.5, 0.95, 0.99)
ALLOWED_ODDS = 1.5
"""Odds of a slow answer that are no harm, as a multiple of the champion's: p50 .6, p95 .073, p99 .015."""

ODDS_RATIOS = (1.5, 3.0, 10.0)
"""Alternatives of the objective test, as odds ratios against the objective."""


@dataclass(frozen=True)
class SlowRate:
    """One time limit: `above_ms`, and the share of the champion's requests that exceeded it, strictly within (0, 1)."""

    above_ms: float
    reference: float

    def __post_init__(self) -> None:
        if not 0 < self.reference < 1:
            raise ValueError(f"share {self.reference} of slow answers: need a value between 0 and 1")

    @property
    def objective(self) -> float:
        odds = ALLOWED_ODDS * self.reference / (1 - self.reference)
        return odds / (1 + odds)


def slow_rates(histogram: Sequence[tuple[float, int]]) -> tuple[SlowRate, ...]:
    """The limits nearest to the champion's p50, p95 and p99 that its histogram can tell apart.

    Args:
        histogram: (upper bound in ms, requests up to it), cumulative and rising; the last row holds all requests.
    """
    total = histogram[-1][1] if histogram else 0
    found: dict[float, SlowRate] = {}
    for q in QUANTILES:
        for bound, below in histogram:
            if total and q <= below / total < 1:
                found[bound] = SlowRate(bound, 1 - below / total)
                break
    return tuple(found.values())


def slower_than(histogram: Sequence[tuple[float, int]], above_ms: float) -> int:
    """Requests above the limit.

    Raises:
        ValueError: the histogram has no such bound; the data plane's buckets were changed during the rollout.
    """
    for bound, below in histogram:
        if bound == above_ms:
            return histogram[-1][1] - below
    raise ValueError(f"latency histogram has no bucket at {above_ms} ms; keep the buckets during a rollout")


@dataclass(frozen=True)
class LatencyEvidence:
    """State of both tests of one time limit."""

    ratio: EProcess
    objective: EProcess
    requests: int = 0

    @classmethod
    def start(cls) -> LatencyEvidence:
        thirds = (1 / 3, 1 / 3, 1 / 3)
        return cls(EProcess.start(thirds), EProcess.start(thirds))

    def update(self, champion: tuple[int, int], challenger: tuple[int, int], objective: float) -> LatencyEvidence:
        """One interval's new (requests, slow requests) of each variant.

        Raises:
            ValueError: negative counts, or more slow requests than requests.
        """
        for n, slow in (champion, challenger):
            if not 0 <= slow <= n:
                raise ValueError(f"{slow} slow requests of {n} requests")
        n, slow = challenger
        test = self.objective
        if n:
            odds = objective / (1 - objective)
            rates = [odds * r / (1 + odds * r) for r in ODDS_RATIOS]
            test = test.multiply(
                [slow * math.log(p / objective) + (n - slow) * math.log((1 - p) / (1 - objective)) for p in rates], n
            )
        return LatencyEvidence(ratio_test(self.ratio, champion, challenger, ALLOWED_ODDS), test, self.requests + n)

    def to_json(self) -> dict[str, Any]:
        return {"ratio": self.ratio.to_json(), "objective": self.objective.to_json(), "requests": self.requests}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> LatencyEvidence:
        return cls(EProcess.from_json(state["ratio"]), EProcess.from_json(state["objective"]), state["requests"])
