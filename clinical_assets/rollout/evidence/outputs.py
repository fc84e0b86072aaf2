"""Hard rule on the challenger's outputs: an invalid score, or one score for many patients, needs no minimum n."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


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

    def follow(
        self, patients: Sequence[str], risks: np.ndarray, answered: np.ndarray, recorded_at: np.ndarray
    ) -> OutputEvidence:
        """The same for n scores in a row, NaN if invalid."""
        if not len(risks):
            return self
        invalid = np.flatnonzero(np.isnan(risks))
        first = self.first_invalid_at
        if first is None and len(invalid):
            first = float(recorded_at[invalid[0]])
        last, value = self.last or ("", None)
        run, since, longest, longest_since = self.run, self.run_since, self.longest, self.longest_since
        for patient, risk, at in zip(patients, risks.tolist(), recorded_at.tolist(), strict=True):
            if risk != risk:  # NaN
                continue
            if risk == value:
                run += last != patient
            else:
                run, since, value = 1, at, risk
            last = patient
            if run > longest:
                longest, longest_since = run, since
        latest = None if value is None else (last, value)
        counted = (self.scored + len(risks), self.answered + int(answered.sum()), self.invalid + len(invalid))
        return OutputEvidence(*counted, latest, run, longest, first, since, longest_since)

    def to_json(self) -> list[Any]:
        last = None if self.last is None else list(self.last)
        times = (self.first_invalid_at, self.run_since, self.longest_since)
        return [self.scored, self.answered, self.invalid, last, self.run, self.longest, *times]

    @classmethod
    def from_json(cls, state: list[Any]) -> OutputEvidence:
        scored, answered, invalid, last, *rest = state
        return cls(scored, answered, invalid, None if last is None else (last[0], last[1]), *rest)
