"""Mixtures of test martingales: the one object behind every test of a rollout.

A mixture `E_t = sum_k w_k prod_i factor_ik`, whose factors have conditional expectation at most 1 under the null, stays
below `1/alpha` for ever with probability at least `1 - alpha` (Ville 1939). It may be looked at after every patient.
Bets on a bounded mean: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", 2024.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FRACTIONS = (0.5, 0.99)
"""Bets as shares of the largest allowed bet. The growth of paired score differences lies at the cap, so two suffice."""

FRACTION_WEIGHTS = (0.3, 0.7)


@dataclass(frozen=True)
class EProcess:
    """State of one mixture: a few floats, exact through JSON, so that a replayed log gives bit-identical values.

    Attributes:
        weights: prior weight of each component, sum 1.
        log_wealth: log of each component's product so far.
        n: observations so far.
        log_peak: largest log E so far; a test that has rejected stays rejected.
    """

    weights: tuple[float, ...]
    log_wealth: tuple[float, ...]
    n: int = 0
    log_peak: float = 0.0

    @classmethod
    def start(cls, weights: Sequence[float]) -> EProcess:
        if not math.isclose(sum(weights), 1.0) or min(weights) <= 0:
            raise ValueError(f"mixture weights must be positive and sum to 1, got {tuple(weights)}")
        return cls(tuple(weights), (0.0,) * len(weights))

    @property
    def log_e(self) -> float:
        top = max(self.log_wealth)
        terms = (w * math.exp(x - top) for w, x in zip(self.weights, self.log_wealth, strict=True))
        return top + math.log(sum(terms))

    @property
    def e(self) -> float:
        """Evidence against the null now; may exceed the float range only at `inf`."""
        return _exp(self.log_e)

    @property
    def peak(self) -> float:
        """Largest evidence against the null at any time so far."""
        return _exp(self.log_peak)

    def rejects(self, alpha: float) -> bool:
        """Whether the null was rejected at any time so far, at level `alpha`."""
        return self.log_peak >= -math.log(alpha)

    def multiply(self, log_factors: Sequence[float], count: int = 1) -> EProcess:
        """Account for `count` observations with the given log factor per component.

        Raises:
            ValueError: a factor is NaN or infinite; such an observation must be refused before it gets here.
        """
        if not all(math.isfinite(x) for x in log_factors):
            raise refused_factors(log_factors)
        wealth = tuple(x + y for x, y in zip(self.log_wealth, log_factors, strict=True))
        moved = EProcess(self.weights, wealth, self.n + count, self.log_peak)
        return EProcess(self.weights, wealth, self.n + count, max(self.log_peak, moved.log_e))

    def to_json(self) -> dict[str, Any]:
        return {"w": list(self.weights), "log": list(self.log_wealth), "n": self.n, "peak": self.log_peak}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> EProcess:
        return cls(tuple(state["w"]), tuple(state["log"]), state["n"], state["peak"])


def bounded_mean() -> EProcess:
    """A test of `E[W | past] <= 0` for observations with a known lower bound."""
    return EProcess.start(FRACTION_WEIGHTS)


def bet(process: EProcess, w: float, lo: float) -> EProcess:
    """One observation `w >= lo` with `E[w | past] <= 0` under the null and `lo < 0` known before it.

    Factors are `1 + f w / |lo|`; they are positive because every f is below 1.

    Raises:
        ValueError: `w` lies below its declared bound, which would void the guarantee.
    """
    if not lo < 0 or not w >= lo * (1 + 1e-12):
        raise refused_bet(w, lo)
    return process.multiply(tuple(math.log1p(f * max(w, lo) / -lo) for f in FRACTIONS))


def refused_factors(log_factors: Sequence[float]) -> ValueError:
    return ValueError(f"log factors must be finite, got {tuple(log_factors)}")


def refused_bet(w: float, lo: float) -> ValueError:
    return ValueError(f"observation {w} with lower bound {lo}: need lo < 0 and observation >= lo")


def _exp(x: float) -> float:
    return math.exp(x) if x < 709.0 else math.inf
