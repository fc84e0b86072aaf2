"""What the gates demand: thresholds, and the checks that must run.

Light on purpose (pydantic only): the catalogue validates the overrides of a cancer type against it. A policy is fixed
before the test split is opened; its digest is part of the decision record. Overrides may move thresholds and add
required checks, never remove one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.gates.thresholds import (
    BiasPolicy,
    DataQualityPolicy,
    PerformancePolicy,
    RegulatoryPolicy,
    SecurityPolicy,
)
from clinical_assets.gates.verdict import GateName

REQUIRED: dict[GateName, tuple[str, ...]] = {
    GateName.DATA_QUALITY: (
        "DQ1", "DQ3", "DQ4", "DQ5", "DQ6", "DQ7", "DQ8", "DQ9", "DQ10", "DQ14", "DQ15", "DQ17", "DQ18",
    ),
    GateName.PERFORMANCE: (
        *("MP1", "MP2", "MP3", "MP5", "MP6", "MP7", "MP8", "MP9", "MP10", "MP11", "MP12"),
        *("MP15a", "MP15b", "MP15c", "MP16", "MP17", "MP18", "MP19"),
    ),
    GateName.BIAS: ("BI1", "BI2", "BI5", "BI6", "BI7", "BI12", "BI16", "BI19"),
    GateName.REGULATORY: (
        *("RG1", "RG2", "RG3", "RG4", "RG5", "RG6", "RG7", "RG8", "RG9"),
        *("RG10", "RG11", "RG13", "RG14", "RG15", "RG16", "RG21"),
    ),
    GateName.SECURITY: (
        *("SE1", "SE2", "SE3", "SE4", "SE5", "SE6", "SE9"),
        *("SE10", "SE11", "SE12", "SE13", "SE15", "SE16"),
    ),
}  # fmt: skip
"""The checks without which a gate is blocked, in both tiers; `verdicts` says what an INCONCLUSIVE one costs in each."""


class GatePolicy(BaseModel):
    """The five gates' thresholds. `additional_required` names further checks that a cancer type insists on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int = 1
    data_quality: DataQualityPolicy = DataQualityPolicy()
    performance: PerformancePolicy = PerformancePolicy()
    bias: BiasPolicy = BiasPolicy()
    regulatory: RegulatoryPolicy = RegulatoryPolicy()
    security: SecurityPolicy = SecurityPolicy()
    additional_required: dict[GateName, tuple[str, ...]] = Field(default_factory=dict)

    @classmethod
    def with_overrides(cls, *layers: Mapping[str, Any]) -> GatePolicy:
        """The defaults, then each layer (platform first, cancer type last); nested keys merge, later layers win.

        Raises:
            pydantic.ValidationError: unknown key or a value outside its bounds.
        """
        merged: dict[str, Any] = {}
        for layer in layers:
            merged = _merge(merged, layer)
        return cls.model_validate(merged)

    def required(self, gate: GateName) -> tuple[str, ...]:
        """Ids of the checks that must run in `gate`."""
        return tuple(dict.fromkeys(REQUIRED[gate] + self.additional_required.get(gate, ())))

    @property
    def content(self) -> dict[str, Any]:
        """All that the policy demands, as plain JSON: thresholds, and the checks required in each gate."""
        required = {gate.value: list(self.required(gate)) for gate in GateName}
        return {"policy": self.model_dump(mode="json"), "required": required}

    @property
    def digest(self) -> str:
        """Identity of the policy, including the built-in required checks."""
        return sha256_json(self.content)


def _merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in layer.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
