"""Thresholds of gate 1, data quality."""

from __future__ import annotations

from clinical_assets.gates.threshold import GENERAL_KNOWLEDGE, Thresholds, threshold


class DataQualityPolicy(Thresholds):
    """The accepted share of missing values is part of the contract (`Column.max_missing`)."""

    missing_drift_warn: float = threshold(
        0.10, GENERAL_KNOWLEDGE, "difference in missing share, test minus train, from which to warn", gt=0, le=1
    )
    polarity_floor: float = threshold(
        0.35,
        "censored subjects are followed longer than those with an event; P(event time < censoring time) below this is "
        "an exchanged censoring indicator (ADaM CNSR = 0 means event)",
        "lowest credible probability that an event time precedes a censoring time",
        ge=0,
        lt=0.5,
    )
    min_test_events: int = threshold(
        100,
        "PROBAST 4.1 as coded in OHDSI PatientLevelPrediction DiagnosePlp.R: fewer than 100 events cannot be judged",
        "events (for a binary endpoint: the rarer class) in the test split below which the sample is too small",
        ge=1,
    )
    min_events_per_feature: float = threshold(
        10.0,
        "ten events per candidate predictor, the customary minimum (PROBAST 4.1)",
        "events in the training split per model input below which to warn",
        gt=0,
    )
