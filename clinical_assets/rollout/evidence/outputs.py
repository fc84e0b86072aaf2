"""Hard rule on the challenger's outputs: an invalid score, or one score for many patients, needs no minimum n."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OutputEvidence:
    """Challenger's outputs so far.

    Attributes:
        scored: scores seen, valid or not. answered: those given to patients. invalid: NaN, outside [0, 1] or missing.
        last: (patient, risk) of the latest valid score. run: patients in a row with exactly that score.
        longest: longest such run.
        first_invalid_at, run_since: wall times of the first bad sample of either kind.
        longest_since: when the longest run began.
    """

    scored: int = 0
    answered: int = 0
    invalid: int = 0
    last: tuple[str, float] | None = None
    run: int = 0
    longest: int = 0
    first_invalid_at: float | None = None
    run_since: float | None = None
    longest_since: float | None = None

    def update(self, patient: str, risk: float | None, answered: bool, recorded_at: float) -> OutputEvidence:
        """One score, `None` if invalid; a repeated request of the same patient does not lengthen a run."""
        scored, given = self.scored + 1, self.answered + answered
        if risk is None:
            first = recorded_at if self.first_invalid_at is None else self.first_invalid_at
            rest = (self.last, self.run, self.longest, first, self.run_since, self.longest_since)
            return OutputEvidence(scored, given, self.invalid + 1, *rest)
        if self.last is not None and self.last[1] == risk:
            run, since = self.run + (self.last[0] != patient), self.run_since
        else:
            run, since = 1, recorded_at
        longest, longest_since = (run, since) if run > self.longest else (self.longest, self.longest_since)
        rest = (self.first_invalid_at, since, longest_since)
        return OutputEvidence(scored, given, self.invalid, (patient, risk), run, longest, *rest)

    def to_json(self) -> list[Any]:
        last = None if self.last is None else list(self.last)
        times = (self.first_invalid_at, self.run_since, self.longest_since)
        return [self.scored, self.answered, self.invalid, last, self.run, self.longest, *times]

    @classmethod
    def from_json(cls, state: list[Any]) -> OutputEvidence:
        scored, answered, invalid, last, *rest = state
        return cls(scored, answered, invalid, None if last is None else (last[0], last[1]), *rest)
