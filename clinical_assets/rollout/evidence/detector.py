"""Has something gone wrong since an unknown moment? A detector that keeps opening fresh bets (e-Shiryaev-Roberts).

`M_t = (M_{t-1} + b_t) e_t` with `b_t` put in before e_t is seen: under the null E[M_t] is all that was put in, so
P(ever M >= A) <= total / A over the watch, and with b_t = 1 the mean time between false alarms is at least A
(Shin, Ramdas and Rinaldo, "E-detectors", 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class EDetector:
    """One detector per component of a mixture, averaged; `log_m` is -inf while nothing was put in."""

    log_m: tuple[float, ...]
    log_peak: float = -math.inf
    n: int = 0

    @classmethod
    def start(cls, components: int) -> EDetector:
        return cls((-math.inf,) * components)

    @property
    def log_mean(self) -> float:
        return _log_sum(self.log_m) - math.log(len(self.log_m))

    def alarms(self, limit: float) -> bool:
        return self.log_peak >= math.log(limit)

    def update(self, log_factors: Sequence[float], put_in: float = 1.0, count: int = 1) -> EDetector:
        """The next e-value of each component, after adding `put_in` >= 0 to each.

        Raises:
            ValueError: a factor is NaN or infinite.
        """
        if not all(math.isfinite(x) for x in log_factors):
            raise ValueError(f"log factors must be finite, got {tuple(log_factors)}")
        added = math.log(put_in) if put_in > 0 else -math.inf
        moved = tuple(_log_sum((m, added)) + x for m, x in zip(self.log_m, log_factors, strict=True))
        state = EDetector(moved, self.log_peak, self.n + count)
        return EDetector(moved, max(self.log_peak, state.log_mean), self.n + count)

    def to_json(self) -> list[Any]:
        finite = [None if math.isinf(x) else x for x in (*self.log_m, self.log_peak)]
        return [*finite, self.n]

    @classmethod
    def from_json(cls, state: list[Any]) -> EDetector:
        *logs, n = state
        values = [-math.inf if x is None else x for x in logs]
        return cls(tuple(values[:-1]), values[-1], n)


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top if math.isinf(top) else top + math.log(sum(math.exp(x - top) for x in logs))
