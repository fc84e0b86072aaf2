"""DQ16: patients who are equal in everything but the outcome, and sites in which the outcome seems inverted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.duplicates import expected_equal_pairs, fingerprints
from clinical_assets.gates.data_quality.outcome_sanity import MIN_PER_ARM, known_outcome, ordering_error
from clinical_assets.gates.data_quality.policy import DataQualityPolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import CohortContract

MIN_ROWS = 30
"""Rows with a known outcome below which a share of conflicts says nothing."""
COINCIDENCES = 0.5
"""Pairs of equal patients that chance makes, from which equal features no longer mean equal patients."""
INVERTED = 0.45
"""AUC of the other sites' risk score that an inverted site's upper limit falls below."""


@check(
    GateName.DATA_QUALITY, "DQ16", "Equal patients have equal outcomes", "share of rows whose equal has another outcome"
)
def conflicting_outcomes(case: Case) -> Finding:
    """Rows equal in all features with different outcomes by the horizon, where chance makes no such rows; label flips
    by site, where `site_column` names the sites."""
    facts, policy = case.facts, case.policy.data_quality
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    had, known = known_outcome(frame, facts.contract)
    frame, had = frame.loc[known].reset_index(drop=True), had[known]
    groups = pd.Series(had).groupby(fingerprints(frame, facts.contract)[0]).agg(["size", "mean"])
    conflict = int(groups["size"][(groups["mean"] > 0) & (groups["mean"] < 1)].sum())
    n, chance = len(frame), expected_equal_pairs(frame, facts.contract)
    share = conflict / n if n else 0.0
    flipped = inverted_sites(frame, had, facts.contract, policy.site_column)
    common: dict[str, Any] = {
        "value": share,
        "n": n,
        "threshold": f"<= {policy.conflicting_share:.0%} of the rows",
        "threshold_source": DataQualityPolicy.source("conflicting_share"),
        "details": {"rows_in_conflict": conflict, "equal_pairs_by_chance": chance, "inverted_sites": len(flipped)},
    }
    if flipped:
        return Finding(
            Verdict.WARN,
            f"{len(flipped)} site(s) in which patients at high risk fare better: is the outcome inverted there?",
            "check how these sites code the outcome",
            **common,
        )
    if n < MIN_ROWS:
        return Finding(Verdict.INCONCLUSIVE, f"only {n} rows with a known outcome", "wait for more follow-up", **common)
    if chance >= COINCIDENCES:
        text = f"does not apply: with features this coarse, different patients are equal by chance ({chance:.2g} pairs)"
        common["value"] = None
        return Finding(Verdict.PASS, text, **common)
    text = f"{conflict} of {n} rows have an equal with another outcome ({share:.1%})"
    if share > policy.conflicting_share:
        return Finding(Verdict.WARN, text, "have the outcomes of these patients adjudicated again", **common)
    return Finding(Verdict.PASS, text, **common)


def inverted_sites(frame: pd.DataFrame, had: np.ndarray, contract: CohortContract, site_column: str) -> list[str]:
    """Sites in which the risk score of all other sites ranks patients the wrong way round, beyond chance (Bonferroni).

    The score is the sum of the standardised features, each times its correlation with the outcome elsewhere.
    """
    from scipy.stats import mannwhitneyu, norm

    if not site_column or site_column not in frame:
        return []
    inputs = _standardised(frame, contract, site_column)
    sites = frame[site_column].astype(str).to_numpy()
    names = np.unique(sites)
    z = float(norm.ppf(1.0 - 0.05 / len(names)))
    found = []
    for name in names:
        here = sites == name
        yes, no = here & had, here & ~had
        elsewhere = had[~here]
        if min(yes.sum(), no.sum(), elsewhere.sum(), (~elsewhere).sum()) < MIN_PER_ARM:
            continue
        weights = inputs[~here].T @ (elsewhere - elsewhere.mean())
        score = inputs @ weights
        auc = float(mannwhitneyu(score[yes], score[no]).statistic) / (yes.sum() * no.sum())
        if auc + z * ordering_error(auc, int(yes.sum()), int(no.sum())) < INVERTED:
            found.append(str(name))
    return found


def _standardised(frame: pd.DataFrame, contract: CohortContract, site_column: str) -> np.ndarray:
    """(n, p) features with mean 0 and variance 1, one column per category, missing values at the mean."""
    columns = []
    for column in contract.features:
        if column.name == site_column or column.name not in frame:
            continue
        if column.numeric:
            columns.append(pd.to_numeric(frame[column.name], errors="coerce").to_numpy(np.float64, na_value=np.nan))
        else:
            columns += [(frame[column.name] == category).to_numpy(np.float64) for category in column.categories or ()]
    inputs = np.column_stack(columns)
    inputs = np.where(np.isfinite(inputs), inputs, np.nan)
    spread = np.nanstd(inputs, axis=0)
    return np.nan_to_num((inputs - np.nanmean(inputs, axis=0)) / np.where(spread > 0, spread, 1.0))
