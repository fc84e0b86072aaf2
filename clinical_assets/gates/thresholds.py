"""Thresholds of the five gates, one class each: every field with default, meaning and source of the default."""

from __future__ import annotations

from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.gates.data_quality.policy import DataQualityPolicy
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.regulatory.policy import RegulatoryPolicy
from clinical_assets.gates.security.policy import SecurityPolicy

__all__ = ["BiasPolicy", "DataQualityPolicy", "PerformancePolicy", "RegulatoryPolicy", "SecurityPolicy"]
