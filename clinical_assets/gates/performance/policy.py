"""Thresholds of gate 2, model performance."""

from __future__ import annotations

from pydantic import model_validator

from clinical_assets.gates.threshold import GENERAL_KNOWLEDGE, Thresholds, threshold


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
    block_confidence: float = threshold(
        0.99,
        "a correctly calibrated model is blocked in fewer than 1 in 100 releases, whatever the size of the sets",
        "joint confidence, over all sets and measures that one check looks at, that a BLOCK needs",
        gt=0.9,
        lt=1,
    )
    max_judged_patients: int = threshold(
        5000,
        "pairs of patients grow with the square; with 5,000 the half-width of a C-index is below .015",
        "patients of one set on which estimates are made; of larger sets an even draw",
        ge=500,
    )
    min_events_to_estimate: int = threshold(
        5,
        "with fewer, one bootstrap sample in a hundred holds no event at all",
        "events (and patients without) below which no number is computed from a set",
        ge=3,
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
    citl: tuple[float, float] = threshold(
        (-0.5, 0.5),
        "the accepted O/E on the logit scale: .8 at a prevalence of one half is a shift by .51",
        "accepted calibration in the large of a label's risks: their shift on the logit scale",
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
        20,
        GENERAL_KNOWLEDGE,
        "distinct predicted risks below which a model is degenerate, where its inputs differ as often",
        ge=1,
    )
    sign_floor: float = threshold(
        0.45,
        "a C-index clearly under one half is a model with its sign turned",
        "C-index below which the sign is wrong",
        gt=0,
        lt=0.5,
    )
    turned_correlation: float = threshold(
        -0.5,
        "measured on 57 clean releases: .90 and more",
        "rank correlation with the reference model at which the model ranks the other way round",
        gt=-1,
        lt=0,
    )
    parity_tolerance: float = threshold(
        1e-6,
        "float64 round-off of two implementations of one formula",
        "largest difference between trained and served risk",
        gt=0,
    )

    reference_level: tuple[float, float] = threshold(
        (0.88, 1.14),
        "measured on 57 clean releases: mean risk of candidate over reference .97 to 1.05; horizon taken at four "
        "fifths: .6 to .95; curves to the power 1.5: 1.2 to 1.5",
        "accepted mean risk relative to the reference model, which was fitted to the same patients",
    )
    reference_spread: float = threshold(
        1.3,
        "measured on 23 clean releases of 100 events and more: .81 to 1.15; overconfident ones from 1.5",
        "accepted spread of risks on the link scale relative to the reference model, where outcomes call it too wide",
        gt=1,
    )
    time_scale: tuple[float, float] = threshold(
        (0.87, 1.15),
        "measured on 57 clean releases: .92 to 1.06; months read as days: 30; horizon taken at four fifths: .74 to .82",
        "accepted ratio of the times at which reference and candidate reach the same mean risk",
    )
    d_calibration_p: float = threshold(
        0.05,
        "Haider et al. 2020; p shrinks with n, so that it warns only together with the ICI",
        "p-value of the D-calibration test at or below which it counts",
        gt=0,
        lt=1,
    )
    auc_horizons: tuple[float, ...] = threshold(
        (0.5, 1.0),
        "the declared horizon and half of it",
        "times of the time-dependent AUC, as shares of the declared horizon; the last one decides",
    )
    label_auroc_floor: float = threshold(
        0.7,
        "deepchecks RocReport: min_auc .7",
        "AUROC that a model of a binary endpoint must reach",
        ge=0.5,
        lt=1,
    )
    reported_specificity: float = threshold(
        0.9, GENERAL_KNOWLEDGE, "specificity at which sensitivity is reported for a binary endpoint", gt=0, lt=1
    )
    utility_range: tuple[float, ...] = threshold(
        (0.75, 1.0, 1.25),
        "Vickers et al.: a reasonable range of thresholds around the declared one, fixed before the data are seen",
        "operating points at which net benefit is computed, as multiples of the declared decision threshold",
    )
    utility_margin: float = threshold(
        0.01,
        GENERAL_KNOWLEDGE,
        "net benefit, in true positives per patient, below which a loss does not matter",
        gt=0,
        lt=0.5,
    )
    max_looks: int = threshold(
        5,
        "each look at a test split spends some of its error; after five the split is a training set",
        "models that may be judged on one test split",
        ge=1,
    )
    site_column: str = threshold(
        "",
        "set per cancer type",
        "column of the cohort that names the site (centre, hospital, registry); none if empty",
    )
    min_site_events: int = threshold(
        20, GENERAL_KNOWLEDGE, "events below which a site or a period is not judged on its own", ge=5
    )
    heterogeneity_p: float = threshold(
        0.01, "Cochran's Q", "p-value at or below which sites or periods differ", gt=0, lt=1
    )
    overfit_gap: float = threshold(
        0.10, "deepchecks TrainTestPerformance: 10 %", "accepted relative loss from training to unseen patients", gt=0
    )
    leak_category_share: float = threshold(
        0.99,
        "a category whose patients nearly all have an early event is written after the event",
        "share of patients of one category with an event in the first quarter of event times that blocks",
        gt=0.5,
        le=1,
    )
    leak_category_n: int = threshold(30, GENERAL_KNOWLEDGE, "patients below which a category is not judged", ge=10)
    dominance: float = threshold(
        0.60,
        GENERAL_KNOWLEDGE,
        "share of the loss of concordance, over all features permuted one by one, that one feature may hold",
        gt=0,
        le=1,
    )
    published_concordance: float | None = threshold(
        None,
        "set per cancer type, with the publication",
        "highest published concordance (AUROC) on this question; a model far above it has probably seen the outcome",
        gt=0.5,
        lt=1,
    )
    min_at_risk: int = threshold(20, GENERAL_KNOWLEDGE, "subjects still followed at the horizon", ge=1)
    min_share_at_risk: float = threshold(
        0.10,
        "the horizon is not beyond the 90th percentile of follow-up",
        "share of subjects still followed at the horizon",
        gt=0,
        lt=1,
    )
    latency_p95_ms: float = threshold(
        50.0, GENERAL_KNOWLEDGE, "95th percentile of the time that one row takes in the serving path", gt=0
    )
    memory_mib: float = threshold(256.0, GENERAL_KNOWLEDGE, "memory that scoring 1,000 rows may take at its peak", gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> PerformancePolicy:
        for name in ("observed_expected", "slope", "reference_level", "time_scale"):
            low, high = getattr(self, name)
            if not 0 < low < 1 < high:
                raise ValueError(f"performance.{name}: ({low}, {high}) must enclose 1, low end first and positive")
        if not self.citl[0] < 0.0 < self.citl[1]:
            raise ValueError(f"performance.citl: {self.citl} must enclose 0, low end first")
        if self.leak_warn > self.leak_block:
            raise ValueError("performance.leak_warn must not exceed performance.leak_block")
        if not self.leak_quantiles or any(not 0 < quantile < 1 for quantile in self.leak_quantiles):
            raise ValueError("performance.leak_quantiles: give at least one quantile strictly between 0 and 1")
        if not self.auc_horizons or any(not 0 < share <= 1 for share in self.auc_horizons):
            raise ValueError("performance.auc_horizons: give shares of the horizon, above 0 and at most 1")
        if not self.utility_range or any(share <= 0 for share in self.utility_range):
            raise ValueError("performance.utility_range: give at least one multiple above 0")
        return self
