"""Thresholds of the bias gate."""

from __future__ import annotations

from pydantic import model_validator

from clinical_assets.gates.threshold import GENERAL_KNOWLEDGE, Thresholds, threshold


class BiasPolicy(Thresholds):
    """Two levels: `confidence` for what is shown and warned of, `block_confidence` for what stops a release.

    Both hold for all groups of a check together: each interval is taken at 1 - (1 - level) / looks (Bonferroni, the
    interval form of Holm's first step), where `looks` counts the groups times the statistics that the check judges.
    """

    confidence: float = threshold(0.95, "convention", "level of the intervals shown and warned of", gt=0.5, lt=1)
    block_confidence: float = threshold(
        0.995,
        "simulated: with the margins, a fair model is blocked in fewer than 1 % of releases over all checks together",
        "level, over all groups of a check together, of the evidence that blocks",
        gt=0.5,
        lt=1,
    )
    min_group_n: int = threshold(
        10,
        "seismometer censor_min_count, OHDSI minCellCount: smaller groups are not shown",
        "subjects below which a group is hidden",
        ge=1,
    )
    min_group_events: int = threshold(
        30,
        "measured: a perfectly fair model fails |dTPR| > .1 in 18 % of cases at 30 events, 46 % at 10",
        "events below which nothing can be said about a group",
        ge=1,
    )
    min_cell: int = threshold(
        11, "CMS cell size suppression policy", "count below which a cell of the group table is suppressed", ge=1
    )
    seed: int = threshold(20_240_301, "fixed in advance", "seed of the even samples that bound the work", ge=0)
    sensitivity_margin: float = threshold(
        0.10,
        GENERAL_KNOWLEDGE,
        "largest accepted difference in sensitivity between a group and everybody else",
        gt=0,
        lt=1,
    )
    error_rate_margin: float = threshold(
        0.10,
        GENERAL_KNOWLEDGE,
        "as sensitivity_margin, for specificity, equalized odds and predictive values",
        gt=0,
        lt=1,
    )
    observed_expected: tuple[float, float] = threshold(
        (0.8, 1.25), "as for performance, in every group", "accepted O/E of a group"
    )
    slope_floor: float = threshold(
        0.8, "lower end of the accepted slope for performance", "calibration slope that a group must reach", gt=0, lt=1
    )
    concordance_warn: float = threshold(
        0.05, GENERAL_KNOWLEDGE, "shortfall of a group's C-index (AUROC) from which to warn", gt=0, lt=0.5
    )
    concordance_block: float = threshold(
        0.10, GENERAL_KNOWLEDGE, "shortfall of a group's C-index (AUROC) that blocks", gt=0, lt=0.5
    )
    cross_concordance_margin: float = threshold(
        0.05,
        "Kallus & Zhou 2019 (xAUC); the size is general knowledge",
        "accepted gap in cross-group concordance",
        gt=0,
        lt=1,
    )
    selection_ratio: float = threshold(
        0.8,
        "four-fifths rule; Aequitas tau, seismometer .8 to 1.25",
        "accepted ratio of the shares flagged",
        gt=0,
        lt=1,
    )
    intersection_fdr: float = threshold(
        0.10, "giskard: Benjamini-Hochberg at .10", "false discovery rate over two-way groups", gt=0, lt=1
    )
    missing_margin: float = threshold(
        0.10, GENERAL_KNOWLEDGE, "accepted difference in the missing share of a feature between groups", gt=0, le=1
    )
    censoring_p: float = threshold(
        0.01,
        GENERAL_KNOWLEDGE,
        "p-value, over all attributes together, of unequal censoring from which to warn",
        gt=0,
        lt=0.5,
    )
    representation_margin: float = threshold(
        0.10,
        GENERAL_KNOWLEDGE,
        "accepted difference between a group's share here and in the target population",
        gt=0,
        le=1,
    )
    champion_margin: float = threshold(
        0.05,
        "half the sensitivity margin: patients had the better model yesterday",
        "accepted loss of sensitivity",
        gt=0,
        lt=1,
    )
    segment_uplift: float = threshold(
        0.20,
        "deepchecks weak segments performance .20",
        "excess loss of a segment, relative to all, from which to warn",
        gt=0,
    )
    expected_attributes: tuple[str, ...] = threshold(
        ("sex", "age", "race"),
        "TRIPOD+AI and the CHAI model card ask for subgroup performance by sex, age and race or ethnicity",
        "attributes that a card must either audit or declare 'not collected'",
    )

    @model_validator(mode="after")
    def _ordered(self) -> BiasPolicy:
        low, high = self.observed_expected
        if not 0 < low < 1 < high:
            raise ValueError(f"bias.observed_expected: ({low}, {high}) must enclose 1, low end first and positive")
        if self.concordance_warn > self.concordance_block:
            raise ValueError("bias.concordance_warn must not exceed bias.concordance_block")
        if self.confidence > self.block_confidence:
            raise ValueError("bias.confidence must not exceed bias.block_confidence")
        return self
