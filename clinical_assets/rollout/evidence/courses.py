"""Many observations at once, to the same bits as one after the other.

Additions run in order, and logarithms and powers are those that `math` takes from the C library: numpy's own differ in
the last bit from processor to processor. Where only an extreme of log E is asked for, numpy finds the few candidates
and the definition for one observation decides among them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import FRACTIONS, EProcess, refused_bet, refused_factors

SLACK = 1e-10
"""Relative distance within which numpy's log E might order two values wrongly; its error is some 1e-14."""


def log1p(values: np.ndarray) -> np.ndarray:
    """`math.log1p` of each of (n,) values."""
    return _each(math.log1p, values)


def squared(values: np.ndarray) -> np.ndarray:
    """`value ** 2` of each of (n,) values."""
    return np.fromiter(map(pow, values.tolist(), repeat(2)), float, len(values))


def logarithm(values: np.ndarray) -> np.ndarray:
    """`math.log` of each of (n,) values."""
    return _each(math.log, values)


def _each(function: Callable[[float], float], values: np.ndarray) -> np.ndarray:
    return np.fromiter(map(function, values.tolist()), float, len(values))


def running(start: float, values: np.ndarray) -> np.ndarray:
    """(n,) sums `start + values[0] + ... + values[i]`, added in this order."""
    return np.add.accumulate(np.concatenate(([start], values)))[1:]


@dataclass(frozen=True)
class Course:
    """A statistic after each of n observations.

    Attributes:
        rough: (n,) its values within `SLACK`.
        exactly: its value after observation i, as the definition for one observation gives it.
        changed: (n,) whether observation i moved what it is computed from; the first always counts as having done so.
    """

    rough: np.ndarray
    exactly: Callable[[int], float]
    changed: np.ndarray

    def part(self, start: int, stop: int) -> Course:
        """The course over observations `start` to `stop` alone."""
        changed = self.changed[start:stop].copy()
        changed[:1] = True
        return Course(self.rough[start:stop], lambda i: self.exactly(start + i), changed)

    def highest(self) -> float:
        top = self.rough.max()
        return max(self._candidates(self.rough >= top - SLACK * (1 + abs(top))).values())

    def lowest(self) -> tuple[float, int]:
        """The smallest value and the last observation after which it stood."""
        low = self.rough.min()
        candidates = self._candidates(self.rough <= low + SLACK * (1 + abs(low)))
        value = min(candidates.values())
        began = max(i for i, found in candidates.items() if found == value)
        later = np.flatnonzero(self.changed[began + 1 :])
        return value, began + int(later[0]) if len(later) else len(self.rough) - 1

    def first_reaching(self, limit: float) -> int | None:
        """The first observation after which the value was at least `limit`."""
        for i in np.flatnonzero((self.rough >= limit - SLACK * (1 + abs(limit))) & self.changed):
            if self.exactly(int(i)) >= limit:
                return int(i)
        return None

    def _candidates(self, near: np.ndarray) -> dict[int, float]:
        return {int(i): self.exactly(int(i)) for i in np.flatnonzero(near & self.changed)}


def spread(before: float, course: Course | None, at: np.ndarray) -> Course:
    """A course over more observations than those that move it.

    Args:
        before: the value until the first of them. course: after each of them, `None` if there is none.
        at: (m,) bool, which of the m observations move it.
    """
    known = np.cumsum(at)
    changed = at.copy()
    changed[0] = True
    values = np.concatenate(([before], course.rough if course is not None else []))

    def exactly(i: int) -> float:
        return before if course is None or not known[i] else course.exactly(int(known[i]) - 1)

    return Course(values[known], exactly, changed)


def multiplied(process: EProcess, log_factors: Sequence[np.ndarray]) -> tuple[EProcess, Course]:
    """The mixture after n >= 1 observations, and log E after each.

    Args:
        log_factors: per component the (n,) log factors.

    Raises:
        ValueError: as `EProcess.multiply`.
    """
    factors = np.stack(log_factors)
    if not np.isfinite(factors).all():
        raise refused_factors(tuple(factors[:, int(np.argmin(np.isfinite(factors).all(axis=0)))].tolist()))
    began = np.array(process.log_wealth)
    wealth = np.add.accumulate(np.concatenate((began[:, None], factors), axis=1), axis=1)[:, 1:]
    top = wealth.max(axis=0)
    rough = top + np.log(np.array(process.weights) @ np.exp(wealth - top))
    changed = np.ones(len(top), bool)
    changed[1:] = (wealth[:, 1:] != wealth[:, :-1]).any(axis=0)

    def exactly(i: int) -> float:
        return replace(process, log_wealth=tuple(wealth[:, i].tolist())).log_e

    course = Course(rough, exactly, changed)
    last = tuple(wealth[:, -1].tolist())
    peak = max(process.log_peak, course.highest())
    return EProcess(process.weights, last, process.n + len(top), peak), course


def bets(w: np.ndarray, lo: Any) -> list[np.ndarray]:
    """Log factors of (n,) observations as `bet` multiplies them; `lo` scalar or (n,).

    Raises:
        ValueError: as `bet`.
    """
    low = np.broadcast_to(np.asarray(lo, float), w.shape)
    allowed = (low < 0) & (w >= low * (1 + 1e-12))
    if not allowed.all():
        first = int(np.argmin(allowed))
        raise refused_bet(float(w[first]), float(low[first]))
    bounded = np.maximum(w, low)
    return [log1p(f * bounded / -low) for f in FRACTIONS]
