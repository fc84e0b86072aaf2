"""What a step of the evidence learns from the log, as plain values, each patient once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Counters = Mapping[str, tuple[int, ...]]
"""Cumulative counts by digest: requests, errors, then (where latency is measured) timed requests, slow by limit."""


@dataclass(frozen=True)
class Observed:
    """What became of a patient: (time in days, event) or a label."""

    time: float | None
    event: int | None
    label: int | None
    recorded_at: float


@dataclass(frozen=True)
class Pair:
    """Both scores of a mature patient of the shadow stage, scored at `predicted_at` (clinical seconds)."""

    champion: float
    challenger: float
    outcome: Observed
    predicted_at: float = 0.0
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The score that a mature patient of the split was given; `other` is the other model's, where logged."""

    challenger_arm: bool
    propensity: float
    risk: float
    other: float | None
    outcome: Observed


@dataclass(frozen=True)
class Score:
    """One score by one of the two models; `first` if it is the patient's first by that model."""

    challenger: bool
    patient: str
    risk: float | None
    answered: bool
    recorded_at: float
    first: bool = True


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
        assigned: (challenger arm?, propensity) of patients first seen in the split.
        counters: cumulative counts by digest, `None` when telemetry was missing.
        pool: given once, before the first outcome is used, where the policy asks for it.
        promoted: pairs of patients whom the promoted model answered.
    """

    wall: float
    stage: str
    now: float = 0.0
    matured: int = 0
    pairs: Sequence[Pair] = ()
    answers: Sequence[Answer] = ()
    assigned: Sequence[tuple[bool, float]] = ()
    scored: Sequence[Score] = ()
    passages: Sequence[Passage] = ()
    counters: Counters | None = None
    pool: Pool | None = None
    promoted: Sequence[Pair] = ()
