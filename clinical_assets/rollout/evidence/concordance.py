"""Difference in AUROC, a block at a time: each case is compared with the patients without event since the last one.

A block's share of concordant pairs under B minus that under A is unbiased for AUROC_B - AUROC_A and lies in [-1, 1];
blocks share no patient, so bets on a bounded mean apply. Null: AUROC_A - AUROC_B >= margin in the population.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clinical_assets.rollout.evidence.bets import EProcess, bet, bounded_mean

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
        difference = sum(_win(challenger, b) - _win(champion, a) for a, b in self.waiting) / len(self.waiting)
        test = bet(self.non_inferiority, margin + difference, margin - 1)
        return ConcordanceEvidence(test, (), self.total + difference)

    def to_json(self) -> dict[str, Any]:
        waiting = [list(pair) for pair in self.waiting]
        return {"non_inferiority": self.non_inferiority.to_json(), "waiting": waiting, "total": self.total}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> ConcordanceEvidence:
        waiting = tuple((a, b) for a, b in state["waiting"])
        return cls(EProcess.from_json(state["non_inferiority"]), waiting, state["total"])


def _win(case: float, control: float) -> float:
    return 1.0 if case > control else 0.5 if case == control else 0.0
