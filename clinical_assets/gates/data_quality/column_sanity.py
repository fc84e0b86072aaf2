"""DQ15: features that carry nothing, features that number the patients, identifiers that tell the outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.outcome_sanity import MIN_PER_ARM, known_outcome, ordering_error
from clinical_assets.gates.data_quality.policy import DataQualityPolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import CohortContract

GATE = GateName.DATA_QUALITY
MIN_ROWS = 30
"""Rows below which numbers in a row are no numbering."""
UNEVEN = 0.01
"""Probability below which gaps in a numbering are not even."""
NUMBERED = 0.99
"""Share of distinct values, rank correlation, and filling of the range from which a column counts as numbering."""


@check(GATE, "DQ15", "No constant, identifying or numbering column", "columns without meaning for prediction")
def meaningless_columns(case: Case) -> Finding:
    """Features with one value, features that number or name the rows, and an identifier that tells the outcome.

    Identifiers that number a list, of which these patients are an even draw, only say in which order the source was
    published, and warn; others are given before the outcome, and block.
    """
    facts, policy = case.facts, case.policy.data_quality
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    if frame.empty:
        return Finding(Verdict.INCONCLUSIVE, "there are no rows", "check the snapshot and the split", n=0)
    names = [column.name for column in facts.contract.features if column.name in frame]
    constant = [name for name in names if frame[name].nunique(dropna=True) < 2]
    frozen = [
        name
        for name in names
        if name not in constant and _frozen(facts.train, facts.test, name, policy.coincidence / len(names))
    ]
    numbering = {
        column.name: why
        for column in facts.contract.features
        if column.name in names and (why := _numbers_rows(frame, column.name))
    }
    told = identifier_auc(frame, facts.contract)
    common: dict[str, Any] = {
        "value": float(len(constant) + len(frozen) + len(numbering)),
        "n": len(frame),
        "threshold": f"0 columns; AUC of the identifier's order <= {policy.identifier_auc_warn:g}",
        "threshold_source": DataQualityPolicy.source("identifier_auc_warn"),
        "details": {
            "constant": constant,
            "constant_on_one_side": frozen,
            "numbering": numbering,
            "identifier_auc": told,
        },
    }
    remedy = "declare the column `role: ignored` with a reason, or repair the source"
    problems = [f"{name} has one value only" for name in constant]
    problems += [f"{name} has one value on one side of the split and several on the other" for name in frozen]
    problems += [f"{name} {why}" for name, why in numbering.items()]
    if problems:
        return Finding(Verdict.BLOCK, "; ".join(problems[:4]), remedy, **common)
    if told is None:
        return Finding(
            Verdict.PASS, f"{len(names)} features vary and number nothing; identifiers have no order", **common
        )
    auc, interval = told
    common |= {"value": auc, "interval": interval}
    text = f"the order of the identifiers tells the outcome (AUC {auc:.2f})"
    remedy = "keep identifiers and row order away from every model input; ask how the numbers were given"
    if interval[0] > policy.identifier_auc_block and not _from_a_list(_identifier_order(frame["subject_id"])):
        return Finding(Verdict.BLOCK, text, remedy, **common)
    if interval[0] > policy.identifier_auc_warn:
        return Finding(Verdict.WARN, f"{text}: the source may be sorted by it", remedy, **common)
    return Finding(Verdict.PASS, f"{len(names)} features vary and number nothing; identifier AUC {auc:.2f}", **common)


def _frozen(train: pd.DataFrame, test: pd.DataFrame, name: str, chance: float) -> bool:
    """One value on one side, several on the other, and no coincidence: P(all n rows hold it) by the other's share."""
    for one, other in ((train, test), (test, train)):
        if name not in one or name not in other:
            continue
        held, seen = one[name].dropna(), other[name].dropna()
        if len(held) >= MIN_PER_ARM and held.nunique() == 1 and seen.nunique() > 1:
            share = float((seen == held.iloc[0]).sum() + 1) / (len(seen) + 2)
            if len(held) * np.log(share) < np.log(chance):
                return True
    return False


def _numbers_rows(frame: pd.DataFrame, name: str) -> str:
    """Why the column numbers or names the rows, or ""."""
    values = frame[name].dropna()
    if len(values) < MIN_ROWS or values.nunique() < NUMBERED * len(values):
        return ""
    if not pd.api.types.is_numeric_dtype(values):
        return "has another text in almost every row, as an identifier has"
    numbers = values.to_numpy(np.float64)
    if not np.isfinite(numbers).all() or (numbers != np.round(numbers)).any():
        return ""
    if _dense(numbers):
        return "numbers the rows without a gap"
    order = _identifier_order(frame.loc[values.index, "subject_id"])
    if order is not None and abs(_rank_correlation(order, numbers)) > NUMBERED:
        return "runs with the subject identifier"
    return ""


def _dense(numbers: np.ndarray | None) -> bool:
    """Whether the numbers fill their range, give or take a tenth that was left out."""
    return numbers is not None and len(numbers) >= 0.9 * (np.ptp(numbers) + 1)


def _from_a_list(numbers: np.ndarray | None) -> bool:
    """Whether the numbers are those of a list or an even draw of half of it or more: they fill their range, and what
    is missing is missing evenly (Kolmogorov and Smirnov's test against the uniform distribution)."""
    from scipy.stats import kstest

    if numbers is None or len(numbers) < 0.5 * (np.ptp(numbers) + 1):
        return False
    place = (numbers - numbers.min() + 0.5) / (np.ptp(numbers) + 1)
    return bool(kstest(place, "uniform").pvalue > UNEVEN)


def identifier_auc(frame: pd.DataFrame, contract: CohortContract) -> tuple[float, tuple[float, float]] | None:
    """How well the order of the identifiers tells who had the event by the horizon, either way round; None: no order,
    or fewer than ten patients of either kind whose outcome by then is known. The interval is at 95 %."""
    from scipy.stats import mannwhitneyu

    order = _identifier_order(frame["subject_id"])
    if order is None:
        return None
    had, known = known_outcome(frame, contract)
    yes, no = order[known & had], order[known & ~had]
    if min(len(yes), len(no)) < MIN_PER_ARM:
        return None
    auc = float(mannwhitneyu(yes, no).statistic) / (len(yes) * len(no))
    auc = max(auc, 1.0 - auc)
    error = ordering_error(auc, len(yes), len(no))
    return auc, (auc - 1.96 * error, min(auc + 1.96 * error, 1.0))


def _identifier_order(subjects: pd.Series) -> np.ndarray | None:
    """(n,) the number that ends each identifier; None unless nearly all end in one and the rest is a common stem."""
    parts = subjects.astype(str).str.extract(r"^(.*?)(\d{1,15})$")
    if parts[1].isna().any() or parts[0].nunique() > 1:
        return None
    return parts[1].to_numpy(np.float64)


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(pd.Series(first).corr(pd.Series(second), method="spearman"))
