"""When did it start? The first bad sample of the run that is now being held against the challenger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.courses import Course


@dataclass(frozen=True)
class Onset:
    """Wall time of the first sample after evidence was last at its lowest (the change-point estimate of Page's CUSUM).

    Attributes:
        floor: lowest log E so far.
        since: time of the first sample above the floor, `None` while at it.
    """

    floor: float = 0.0
    since: float | None = None

    def update(self, log_e: float, sample_at: float) -> Onset:
        if log_e <= self.floor:
            return Onset(log_e, None)
        return Onset(self.floor, sample_at if self.since is None else self.since)

    def follow(self, log_e: Course, samples_at: np.ndarray) -> Onset:
        """The same for n >= 1 samples in a row."""
        low, last = log_e.lowest()
        if low > self.floor:
            return Onset(self.floor, float(samples_at[0]) if self.since is None else self.since)
        return Onset(low, float(samples_at[last + 1]) if last + 1 < len(samples_at) else None)

    def to_json(self) -> list[Any]:
        return [self.floor, self.since]

    @classmethod
    def from_json(cls, state: list[Any]) -> Onset:
        return cls(*state)
