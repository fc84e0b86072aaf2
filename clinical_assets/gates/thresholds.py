"""Thresholds of the five gates, one class each: every field with default, meaning and source of the default."""

from __future__ import annotations

from pydantic import model_validator

from clinical_assets.gates.bias_policy import BiasPolicy
from clinical_assets.gates.data_quality_policy import DataQualityPolicy
from clinical_assets.gates.performance_policy import PerformancePolicy
from clinical_assets.gates.regulatory_policy import RegulatoryPolicy
from clinical_assets.gates.threshold import Thresholds, threshold

__all__ = ["BiasPolicy", "DataQualityPolicy", "PerformancePolicy", "RegulatoryPolicy", "SecurityPolicy"]


class SecurityPolicy(Thresholds):
    allowed_suffixes: tuple[str, ...] = threshold(
        (".json", ".ubj", ".safetensors", ".skops", ".onnx"),
        "data-only formats; deny-lists for pickle miss most probes (modelscan 1 of 6, picklescan 2 of 6)",
        "file types that may lie in a model directory",
    )

    @model_validator(mode="after")
    def _no_pickle(self) -> SecurityPolicy:
        executable = {".pkl", ".pickle", ".joblib", ".dill", ".pt", ".pth", ".npy", ".npz", ".bin"} & set(
            self.allowed_suffixes
        )
        if executable:
            raise ValueError(
                f"security.allowed_suffixes: {sorted(executable)} can carry code and cannot be allowed by policy"
            )
        return self
