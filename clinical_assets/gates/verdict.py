"""The five verdicts, what they grant, and the reports that carry them."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Verdict(StrEnum):
    """`INCONCLUSIVE`: the evidence is too weak to say. `ERROR`: the check crashed. Neither is a pass."""

    PASS = "PASS"
    WARN = "WARN"
    BLOCK = "BLOCK"
    INCONCLUSIVE = "INCONCLUSIVE"
    ERROR = "ERROR"


class Scope(StrEnum):
    """What a verdict grants: nothing, mirrored requests that no patient sees, or patients' traffic."""

    NONE = "none"
    SHADOW = "shadow"
    TRAFFIC = "traffic"

    def covers(self, needed: Scope) -> bool:
        order = list(Scope)
        return order.index(self) >= order.index(needed)


class Tier(StrEnum):
    """How much evidence the intended use demands."""

    CLINICAL = "clinical"
    RESEARCH = "research"


class GateName(StrEnum):
    DATA_QUALITY = "data_quality"
    PERFORMANCE = "performance"
    BIAS = "bias"
    REGULATORY = "regulatory"
    SECURITY = "security"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckResult(_Record):
    """One rule applied to one model. `value` and `interval` are in the units of `metric`."""

    id: str
    title: str
    verdict: Verdict
    metric: str
    value: float | str | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    events: int | None = None
    threshold: str = ""
    threshold_source: str = ""
    reason: str = ""
    remedy: str = ""
    version: int = 1
    duration_s: float = 0.0
    details: dict[str, Any] = Field(default_factory=dict)


class GateReport(_Record):
    """All checks of one gate on one model; `verdict` follows from them and from `required`."""

    gate: GateName
    verdict: Verdict
    checks: tuple[CheckResult, ...]
    required: tuple[str, ...]
    started: str
    finished: str
    cancer: str = ""
    model_digest: str = ""
    policy_digest: str = ""
