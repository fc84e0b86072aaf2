"""Thresholds of the five gates, one class each: every field with default, meaning and source of the default."""

from __future__ import annotations

from clinical_assets.gates.bias_policy import BiasPolicy
from clinical_assets.gates.data_quality_policy import DataQualityPolicy
from clinical_assets.gates.performance_policy import PerformancePolicy
from clinical_assets.gates.regulatory_policy import RegulatoryPolicy
from clinical_assets.gates.security_policy import SecurityPolicy

__all__ = ["BiasPolicy", "DataQualityPolicy", "PerformancePolicy", "RegulatoryPolicy", "SecurityPolicy"]
