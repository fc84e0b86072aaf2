"""Difference in AUROC, a block at a time: each case is compared with the patients without event since the last one.

A block's share of concordant pairs under B minus that under A is unbiased for AUROC_B - AUROC_A and lies in [-1, 1];
blocks share no patient, so bets on a bounded mean apply. Null: AUROC_A - AUROC_B >= margin in the population.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import EProcess, bet, bounded_mean
from clinical_assets.rollout.evidence.courses import bets, multiplied, running

CONTROLS = 10
"""A block holds at most so many patients without event; more change its variance little."""

Scores = tuple[float, float]
"""(champion, challenger)."""


@dataclass(frozen=True)
class ConcordanceEvidence:
    """State of the non-inferiority test; `waiting` are patients without event who have not met a case yet."""

    non_inferiority: EProcess
    waiting: tuple[Scores, ...] = ()
    total: float = 0.0

    @classmethod
    def start(cls) -> ConcordanceEvidence:
        return cls(bounded_mean())

    @property
    def mean(self) -> float | None:
        """Mean AUROC_B - AUROC_A over the blocks."""
        return self.total / self.non_inferiority.n if self.non_inferiority.n else None

    def update(self, champion: float, challenger: float, outcome: int, margin: float) -> ConcordanceEvidence:
        """One mature patient, never censored before the horizon."""
        if not outcome:
            if len(self.waiting) == CONTROLS:
                return self
            return ConcordanceEvidence(self.non_inferiority, (*self.waiting, (champion, challenger)), self.total)
        if not self.waiting:
            return self
        difference = _difference(self.waiting, champion, challenger)
        test = bet(self.non_inferiority, margin + difference, margin - 1)
        return ConcordanceEvidence(test, (), self.total + difference)

    def follow(
        self, champion: np.ndarray, challenger: np.ndarray, outcome: np.ndarray, margin: float
    ) -> ConcordanceEvidence:
        """The same for n patients in a row, all (n,)."""
        waiting, found = list(self.waiting), []
        for a, b, case in zip(champion.tolist(), challenger.tolist(), (outcome != 0).tolist(), strict=True):
            if case and waiting:
                found.append(_difference(waiting, a, b))
                waiting = []
            elif not case and len(waiting) < CONTROLS:
                waiting.append((a, b))
        if not found:
            return ConcordanceEvidence(self.non_inferiority, tuple(waiting), self.total)
        differences = np.array(found)
        test, _ = multiplied(self.non_inferiority, bets(margin + differences, margin - 1))
        return ConcordanceEvidence(test, tuple(waiting), float(running(self.total, differences)[-1]))

    def to_json(self) -> dict[str, Any]:
        waiting = [list(pair) for pair in self.waiting]
        return {"non_inferiority": self.non_inferiority.to_json(), "waiting": waiting, "total": self.total}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> ConcordanceEvidence:
        waiting = tuple((a, b) for a, b in state["waiting"])
        return cls(EProcess.from_json(state["non_inferiority"]), waiting, state["total"])


def _difference(waiting: Sequence[Scores], champion: float, challenger: float) -> float:
    return sum(_win(challenger, b) - _win(champion, a) for a, b in waiting) / len(waiting)


def _win(case: float, control: float) -> float:
    return 1.0 if case > control else 0.5 if case == control else 0.0
