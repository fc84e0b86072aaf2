"""What a step of the evidence learns from the log, by columns, each patient once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Counters = Mapping[str, tuple[int, ...]]
"""Cumulative counts by digest: requests, errors, then (where latency is measured) timed requests, slow by limit."""


@dataclass(frozen=True)
class Observed:
    """What became of n patients: label, or time in days with event; NaN where the other is told. All (n,) floats."""

    time: np.ndarray
    event: np.ndarray
    label: np.ndarray
    recorded_at: np.ndarray

    def __len__(self) -> int:
        return len(self.recorded_at)


@dataclass(frozen=True)
class Pairs:
    """Both scores of n mature patients of the shadow stage, scored at `predicted_at` (clinical seconds)."""

    champion: np.ndarray
    challenger: np.ndarray
    outcome: Observed
    predicted_at: np.ndarray
    groups: Sequence[tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.champion)


@dataclass(frozen=True)
class Answers:
    """The scores that n mature patients of the split were given; `other` is the other model's, NaN where not logged."""

    challenger_arm: np.ndarray
    propensity: np.ndarray
    risk: np.ndarray
    other: np.ndarray
    outcome: Observed

    def __len__(self) -> int:
        return len(self.risk)


@dataclass(frozen=True)
class Assigned:
    """Arm and propensity of n patients first seen in the split."""

    challenger: np.ndarray
    propensity: np.ndarray

    def __len__(self) -> int:
        return len(self.propensity)


@dataclass(frozen=True)
class Scores:
    """n scores by the two models, NaN = invalid; `first` where it is the patient's first by that model."""

    challenger: np.ndarray
    patient: Sequence[str]
    risk: np.ndarray
    answered: np.ndarray
    recorded_at: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.risk)


@dataclass(frozen=True)
class Passage:
    """A mirrored patient's way through one follow-up band. `until`: share of the horizon up to which it was at risk.

    `withdrawn` takes back what was accounted before a late report said otherwise.
    """

    champion: float
    challenger: float
    band: int
    until: float
    event: bool
    withdrawn: bool = False


@dataclass(frozen=True)
class Pool:
    """Unlabelled score pairs of the shadow stage, their sites, and when the last was scored (clinical seconds)."""

    champion: Sequence[float]
    challenger: Sequence[float]
    sites: Sequence[str]
    last: float


def site_of(groups: Sequence[str]) -> str:
    """The site among a patient's groups, "" where none is logged."""
    return next((group for group in groups if group.startswith("site=")), "")


@dataclass(frozen=True)
class News:
    """What was logged since the last step, in reading order.

    Attributes:
        wall: wall time of the step. stage: stage in force. now: clinical time of the step.
        matured: pairs whose horizon has passed, with or without outcome.
        counters: cumulative counts by digest, `None` when telemetry was missing.
        heard: wall time at which the counters were last seen unchanged.
        pool: given once, before the first outcome is used, where the policy asks for it.
        promoted: pairs of patients whom the promoted model answered.
    """

    wall: float
    stage: str
    now: float = 0.0
    matured: int = 0
    pairs: Pairs | None = None
    answers: Answers | None = None
    assigned: Assigned | None = None
    scored: Scores | None = None
    passages: Sequence[Passage] = ()
    counters: Counters | None = None
    heard: float | None = None
    pool: Pool | None = None
    promoted: Pairs | None = None
