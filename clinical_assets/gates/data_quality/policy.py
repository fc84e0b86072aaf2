"""Thresholds of gate 1, data quality."""

from __future__ import annotations

from pydantic import model_validator

from clinical_assets.gates.threshold import GENERAL_KNOWLEDGE, Thresholds, threshold


class DataQualityPolicy(Thresholds):
    """The accepted share of missing values is part of the contract (`Column.max_missing`)."""

    missing_drift_warn: float = threshold(
        0.10, GENERAL_KNOWLEDGE, "difference in missing share, new minus reference, from which to warn", gt=0, le=1
    )
    polarity_floor: float = threshold(
        0.35,
        "censored subjects are followed longer than those with an event; P(event time < censoring time) below this is "
        "an exchanged censoring indicator (ADaM CNSR = 0 means event)",
        "lowest credible probability that an event time precedes a censoring time",
        ge=0,
        lt=0.5,
    )
    protocol_median_days: tuple[float, float] | None = threshold(
        None,
        "the study protocol; not compared unless declared",
        "accepted range of the Kaplan-Meier median, in days",
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
    unit_tolerance: float = threshold(
        0.15,
        "medians of two samples of one population differ; a conversion factor is hit within 15 %",
        "relative distance of a ratio of medians from a conversion factor that still counts as that factor",
        gt=0,
        lt=0.5,
    )
    coincidence: float = threshold(
        1e-4,
        "each cohort is looked at in many columns; one false alarm in ten thousand looks",
        "probability below which a pattern in one column is no coincidence (shared among the columns)",
        gt=0,
        lt=0.05,
    )
    block_confidence: float = threshold(
        0.999,
        "one clean release in a thousand, whatever its size",
        "joint confidence, over the columns and sides that one check looks at, of the drift that blocks",
        gt=0.9,
        lt=1,
    )
    drift_min_n: int = threshold(
        50,
        "below it the population stability index of ten bins is mostly noise: its expectation under no drift is .36",
        "rows on either side below which drift is not judged",
        ge=20,
    )
    drift_warn: float = threshold(
        0.2, "population stability index: .2 (deepchecks; evidently .1)", "drift of a column from which to warn", gt=0
    )
    drift_block: float = threshold(
        0.4, "twice the warning", "drift of a leading feature beyond which certain drift blocks", gt=0
    )
    drift_leading_features: int = threshold(
        10, "the features that carry the model", "features most associated with the outcome, which can block", ge=1
    )
    drift_level: float = threshold(
        0.05, "Benjamini-Hochberg over the columns", "false discovery rate of the drift warnings", gt=0, lt=0.5
    )
    domain_auc_warn: float = threshold(
        0.75,
        "deepchecks multivariate drift .25, that is (AUC - .5) x 2 = .5",
        "AUC of the domain classifier that its lower limit must exceed to warn",
        gt=0.5,
        lt=1,
    )
    outcome_shift: float = threshold(
        0.15,
        "deepchecks LabelDrift .15",
        "difference in event probability from which to warn, and beyond which a certain difference blocks",
        gt=0,
        lt=1,
    )
    dropped_category_share: float = threshold(
        0.01, "a category above 1 % of the reference is expected again", "share of the reference", gt=0, lt=1
    )
    identifier_auc_warn: float = threshold(
        0.65,
        "order of enrolment and follow-up go together to some extent; deepchecks IdentifierLabelCorrelation 0",
        "AUC of the identifier for the outcome that its lower limit must exceed to warn",
        gt=0.5,
        lt=1,
    )
    identifier_auc_block: float = threshold(
        0.95,
        "as a copied label among the features: no order of enrolment tells outcomes apart this well",
        "AUC of the identifier for the outcome that its lower limit must exceed to block",
        gt=0.5,
        le=1,
    )
    conflicting_share: float = threshold(
        0.01,
        "0-1 % of the rows; above it the outcomes of equal patients contradict each other",
        "share of rows whose equal in all features has another outcome",
        gt=0,
        lt=1,
    )
    site_column: str = threshold("", "declared per cancer type", "name of the column that holds the recruiting site")

    cdisc_standard: str = threshold(
        "", "the submission's define.xml; ADaM sources default to adamig", "standard for CDISC CORE: adamig, sdtmig, …"
    )
    cdisc_version: str = threshold("1-3", "the submission's define.xml", "version of that standard, such as 3-4")
    cdisc_terminology: tuple[str, ...] = threshold((), "the submission's define.xml", "controlled terminology packages")

    @model_validator(mode="after")
    def _ordered(self) -> DataQualityPolicy:
        if self.drift_warn > self.drift_block:
            raise ValueError("data_quality.drift_warn must not exceed data_quality.drift_block")
        if self.identifier_auc_warn > self.identifier_auc_block:
            raise ValueError("data_quality.identifier_auc_warn must not exceed data_quality.identifier_auc_block")
        if (
            self.protocol_median_days is not None
            and not 0 < self.protocol_median_days[0] < self.protocol_median_days[1]
        ):
            raise ValueError("data_quality.protocol_median_days: give [low, high] in days with 0 < low < high")
        return self
