"""Thresholds of the five gates, one class each: every field with default, meaning and source of the default."""

from __future__ import annotations

from pydantic import model_validator

from clinical_assets.gates.bias_policy import BiasPolicy
from clinical_assets.gates.data_quality_policy import DataQualityPolicy
from clinical_assets.gates.regulatory_policy import RegulatoryPolicy
from clinical_assets.gates.threshold import GENERAL_KNOWLEDGE, Thresholds, threshold

__all__ = ["BiasPolicy", "DataQualityPolicy", "PerformancePolicy", "RegulatoryPolicy", "SecurityPolicy"]


class PerformancePolicy(Thresholds):
    confidence: float = threshold(0.95, "convention", "level of every confidence interval", gt=0.5, lt=1)
    bootstrap_replicates: int = threshold(
        1000, "at least 1,000 patient-clustered replicates for a percentile interval", "bootstrap replicates", ge=1000
    )
    bootstrap_seed: int = threshold(
        20_240_229, "fixed in advance, recorded with every interval", "bootstrap seed", ge=0
    )
    min_test_events: int = threshold(
        100,
        "PROBAST 4.1 (fewer than 100 events: unknown); Riley et al., imprecise below 100-200 events",
        "events from which a set of predictions can carry a performance claim",
        ge=1,
    )
    min_out_of_fold_events: int = threshold(
        50,
        "half the test split's demand: out-of-fold patients are many, and the intervals carry the imprecision",
        "events from which nested out-of-fold predictions can carry a performance claim",
        ge=10,
    )
    discrimination_floor: float = threshold(
        0.5,
        "chance; some cancers are near chance by nature, so the reference model is the demanding floor",
        "C-index (binary: AUROC) that the interval's lower bound must reach",
        ge=0.5,
        lt=1,
    )
    skill_floor: float = threshold(
        0.0,
        "a model must beat the Kaplan-Meier curve (binary: the prevalence) as a forecast",
        "1 - IBS / IBS of Kaplan-Meier (binary: 1 - Brier / Brier of the prevalence) to be exceeded",
        lt=1,
    )
    observed_expected: tuple[float, float] = threshold(
        (0.8, 1.25),
        "general knowledge; measured .98-1.01 on clean against 1.36-1.41 on overconfident models",
        "accepted O/E",
    )
    slope: tuple[float, float] = threshold(
        (0.8, 1.2),
        "general knowledge (Van Calster et al. 2019, the Achilles heel of predictive analytics)",
        "accepted slope",
    )
    ici_max: float = threshold(
        0.05,
        "measured .015-.039 on clean against .080-.088 on overconfident models",
        "integrated calibration index",
        gt=0,
        lt=1,
    )
    non_inferiority_margin: float = threshold(
        0.02,
        "C-index margin customary in model updating; to be justified per cancer type",
        "largest loss of C-index (AUROC) against the comparator that is still non-inferior",
        gt=0,
        lt=0.5,
    )
    leak_block: float = threshold(
        0.95,
        "no baseline covariate separates early events this well",
        "time-dependent AUC of one feature that blocks",
        gt=0.5,
        le=1,
    )
    leak_warn: float = threshold(
        0.90, "as leak_block, for a closer look", "time-dependent AUC of one feature that warns", gt=0.5, le=1
    )
    leak_quantiles: tuple[float, ...] = threshold(
        (0.10, 0.25, 0.50, 0.75),
        "early events are where a post-baseline column shows first",
        "quantiles of the event times at which features are tested",
    )
    leak_label: float = threshold(
        0.99,
        "diagnostic measurements separate classes by design (Wisconsin nuclei: AUROC .975), a copied label fully",
        "AUROC of one feature that blocks where the endpoint is binary",
        gt=0.5,
        le=1,
    )
    leak_min_events: int = threshold(
        10, GENERAL_KNOWLEDGE, "events before a quantile below which the time-dependent AUC says nothing", ge=2
    )
    min_distinct_risks: int = threshold(
        20, GENERAL_KNOWLEDGE, "distinct predicted risks below which a model is degenerate", ge=1
    )
    sign_floor: float = threshold(
        0.45,
        "a C-index clearly under one half is a model with its sign turned",
        "C-index below which the sign is wrong",
        gt=0,
        lt=0.5,
    )
    parity_tolerance: float = threshold(
        1e-6,
        "float64 round-off of two implementations of one formula",
        "largest difference between trained and served risk",
        gt=0,
    )

    @model_validator(mode="after")
    def _ordered(self) -> PerformancePolicy:
        for name in ("observed_expected", "slope"):
            low, high = getattr(self, name)
            if not 0 < low < 1 < high:
                raise ValueError(f"performance.{name}: ({low}, {high}) must enclose 1, low end first and positive")
        if self.leak_warn > self.leak_block:
            raise ValueError("performance.leak_warn must not exceed performance.leak_block")
        if not self.leak_quantiles or any(not 0 < quantile < 1 for quantile in self.leak_quantiles):
            raise ValueError("performance.leak_quantiles: give at least one quantile strictly between 0 and 1")
        return self


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
