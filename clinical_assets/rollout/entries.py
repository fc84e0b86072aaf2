"""What the ledger holds, as plain values. Times are seconds since the epoch on the clinical clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

GROUP_SEPARATOR = ";"


class LedgerError(RuntimeError):
    """A write that the ledger refuses; nothing of it was stored."""


class OutcomeConflict(LedgerError):
    """A second, different outcome for a request that already has one."""


class UnknownRequest(LedgerError):
    """An outcome for a request that was never predicted."""


class RolloutConflict(LedgerError):
    """The cancer type already has an open rollout, or the rollout is closed."""


class StaleLease(LedgerError):
    """The writer's lease was taken over by another holder, or released."""


class Arm(StrEnum):
    """The variant that answered; `shadow` = a mirrored copy whose answer no patient sees."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    SHADOW = "shadow"


class PredictionStatus(StrEnum):
    OK = "ok"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One score by one model. `propensity` is the challenger's weight in force, 0..1; an invalid score has no risk.

    `groups` are the patient's sex, age band, race and site ("sex=female"), as far as the request told them.

    Raises:
        ValueError: risk or propensity outside [0, 1], a risk that contradicts the status, or a group with a ";".
    """

    request_id: str
    digest: str
    cancer: str
    rollout_id: str | None
    patient: str
    arm: Arm
    propensity: float
    risk: float | None
    predicted_at: float
    status: PredictionStatus = PredictionStatus.OK
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(GROUP_SEPARATOR in group for group in self.groups):
            raise ValueError(f"{self.cancer}: a group name holds {GROUP_SEPARATOR!r}; rename the category")
        if not 0.0 <= self.propensity <= 1.0:
            raise ValueError(f"{self.cancer}: propensity {self.propensity} is outside 0..1; divide the weight by 100")
        valid = self.risk is not None and math.isfinite(self.risk) and 0.0 <= self.risk <= 1.0
        if valid != (PredictionStatus(self.status) is PredictionStatus.OK) or (not valid and self.risk is not None):
            raise ValueError(f"{self.cancer}: status 'ok' needs a risk in [0, 1], status 'invalid' needs none (None)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to the patient of one request: `time` (days) with `event` (0, 1), or `label` (0, 1).

    Raises:
        ValueError: not exactly one of the two forms.
    """

    request_id: str
    cancer: str
    observed_at: float
    time: float | None = None
    event: int | None = None
    label: int | None = None

    def __post_init__(self) -> None:
        survival = self.time is not None and math.isfinite(self.time) and self.time >= 0 and self.event in (0, 1)
        binary = self.label in (0, 1)
        if survival == binary or (binary and (self.time is not None or self.event is not None)):
            raise ValueError(f"{self.cancer}: an outcome is either time >= 0 (days) with event 0/1, or label 0/1")

    @property
    def observed(self) -> tuple[float | None, int | None, int | None]:
        return self.time, self.event, self.label


@dataclass(frozen=True, slots=True)
class Recorded:
    """Result of a bulk write. `conflicts`: keys that are stored with another patient or score (the first one stays)."""

    stored: int
    repeated: int = 0
    conflicts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class ArmCount:
    """Requests and patients of one arm at one propensity and status (also for the sample-ratio test)."""

    arm: Arm
    digest: str
    propensity: float
    status: PredictionStatus
    requests: int
    patients: int
    first_at: float
    last_at: float


@dataclass(frozen=True)
class Rollout:
    """One challenger's way; `policy` is locked by `policy_digest`. `author` may not approve it."""

    id: str
    cancer: str
    champion: str
    challenger: str
    policy: Mapping[str, Any]
    policy_digest: str
    author: str
    opened_at: float


@dataclass(frozen=True)
class Transition:
    """One decision and what it led to. `weight` (0..100) was intended, `observed_weight` seen in the data plane."""

    rollout_id: str
    cancer: str
    action: str
    stage: str
    weight: int
    reason: str
    rule: str
    actor: str
    at: float
    is_open: bool = True
    observed_weight: float | None = None
    n: Mapping[str, int] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)
    interval: tuple[float, float] | None = None
    input_sha256: str = ""
    intent_id: str | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredTransition:
    """A transition with what the ledger added to it."""

    seq: int
    transition: Transition
    policy_digest: str
    champion: str
    challenger: str
    recorded_at: float
    fencing_token: int
    previous: str
    entry_hash: str


@dataclass(frozen=True)
class Progress:
    """Where a rollout stands, derived from its transitions. `entered_at`: when the present stage began."""

    rollout: Rollout
    stage: str
    weight: int
    is_open: bool
    entered_at: float
    last: StoredTransition | None


class IntentStep(StrEnum):
    """intent -> written -> observed -> done; `reverted` ends an intent that was not carried out."""

    INTENT = "intent"
    WRITTEN = "written"
    OBSERVED = "observed"
    DONE = "done"
    REVERTED = "reverted"


@dataclass(frozen=True)
class Intent:
    """A route write and how far it came. `detail` belongs to the latest step."""

    id: str
    rollout_id: str
    cancer: str
    route: Mapping[str, Any]
    step: IntentStep
    begun_at: float
    at: float
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fence:
    """Proof of holding the lease `name`: the token that rose when it was acquired."""

    name: str
    token: int
