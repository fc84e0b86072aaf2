"""Confidence sequence for a mean loss difference: all grid values that no bet has refuted so far, valid at any time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import EProcess, bet, bounded_mean
from clinical_assets.rollout.evidence.courses import bets, multiplied

GRID = (-3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""Candidate means in units of the scale, for paired differences the non-inferiority margin."""


BLOCK = 4096
"""Observations of one step of a test: most grid values are refuted early and cost nothing from then on."""


@dataclass(frozen=True)
class GridInterval:
    """Two one-sided tests per grid value, each at alpha / 2; a refuted value needs no state any more.

    Attributes:
        grid: candidate means, rising.
        above: per grid value m the test of "mean <= m", `None` once refuted.
        below: per grid value m the test of "mean >= m", `None` once refuted.
    """

    grid: tuple[float, ...]
    above: tuple[EProcess | None, ...]
    below: tuple[EProcess | None, ...]
    alpha: float = 0.05

    @classmethod
    def start(cls, scale: float, alpha: float = 0.05) -> GridInterval:
        fresh = tuple(bounded_mean() for _ in GRID)
        return cls(tuple(g * scale for g in GRID), fresh, fresh, alpha)

    def update(self, z: float, lo: float, hi: float) -> GridInterval:
        """One observation with known bounds `lo <= z <= hi` that enclose the grid."""
        pairs = list(zip(self.grid, self.above, self.below, strict=True))
        above = tuple(self._kept(test, z - m, lo - m) for m, test, _ in pairs)
        below = tuple(self._kept(test, m - z, m - hi) for m, _, test in pairs)
        return GridInterval(self.grid, above, below, self.alpha)

    def follow(self, z: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> GridInterval:
        """The same for n observations in a row, each with its bounds, all (n,)."""
        pairs = list(zip(self.grid, self.above, self.below, strict=True))
        above = tuple(self._kept_through(test, z - m, lo - m) for m, test, _ in pairs)
        below = tuple(self._kept_through(test, m - z, m - hi) for m, _, test in pairs)
        return GridInterval(self.grid, above, below, self.alpha)

    def _kept_through(self, test: EProcess | None, w: np.ndarray, lo: np.ndarray) -> EProcess | None:
        for start in range(0, len(w), BLOCK):
            if test is None:
                return None
            part = slice(start, start + BLOCK)
            moved, _ = multiplied(test, bets(w[part], lo[part]))
            test = None if moved.rejects(self.alpha / 2) else moved
        return test

    def _kept(self, test: EProcess | None, w: float, lo: float) -> EProcess | None:
        if test is None:
            return None
        moved = bet(test, w, lo)
        return None if moved.rejects(self.alpha / 2) else moved

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """(lower, upper) limit of the mean; `None` where the evidence does not reach into the grid."""
        lower = [m for m, test in zip(self.grid, self.above, strict=True) if test is None]
        upper = [m for m, test in zip(self.grid, self.below, strict=True) if test is None]
        return (max(lower) if lower else None, min(upper) if upper else None)

    def to_json(self) -> dict[str, Any]:
        def state(tests: tuple[EProcess | None, ...]) -> list[Any]:
            return [None if t is None else [list(t.log_wealth), t.n, t.log_peak] for t in tests]

        return {"grid": list(self.grid), "alpha": self.alpha, "above": state(self.above), "below": state(self.below)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> GridInterval:
        weights = bounded_mean().weights

        def tests(rows: list[Any]) -> tuple[EProcess | None, ...]:
            return tuple(None if r is None else EProcess(weights, tuple(r[0]), r[1], r[2]) for r in rows)

        return cls(tuple(state["grid"]), tests(state["above"]), tests(state["below"]), state["alpha"])
