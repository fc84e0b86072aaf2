"""DQ4: codes that stand for "unknown" and pass for measurements: 999, -9, 1900-01-01, "UNK"; several such at once.

A code outside the plausible range is one for certain. Inside it, a code of nines, eights or sevens is one if it lies
apart from everything else (further than the others spread), or if it towers over its neighbourhood.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.reference_cohort import categories, measured
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import Column
from clinical_assets.trials.small_cells import shown

CODES = np.array(
    sorted({sign * int(digit * length) for digit in "789" for length in range(1, 6) for sign in (1, -1)} | {-1})
)
"""7, 77, … 99999 and their negatives: refused, not applicable, unknown."""
LONG = 70
"""Codes inside the plausible range are suspected only from two digits on: a 9 may well be a measurement."""
SPIKE, MIN_SPIKE = 5.0, 6
NEAR, AROUND = 0.05, 0.2
"""A spike: at least 6 rows, and 5 times all those within 5 % around the code or those of any one value within 20 %."""
TEXTS = frozenset({
    "", "-", "--", ".", "?", "na", "n/a", "#n/a", "nan", "nil", "none", "null", "unk", "unknown", "missing",
    "not available", "[not available]", "[unknown]", "[not evaluated]", "not reported", "not recorded",
    "9", "99", "999", "9999", "-1", "-9", "-99", "-999",
})  # fmt: skip
DATES = np.array(
    ["1582-10-14", "1899-12-30", "1899-12-31", "1900-01-01", "1960-01-01", "1970-01-01", "2099-12-31", "9999-12-31"],
    dtype="datetime64[D]",
)
"""Zero dates of spreadsheets, SAS, Unix and databases, and their "never"."""
YEARS_APART = 5.0


@check(GateName.DATA_QUALITY, "DQ4", "No codes for unknown among the values", "rows that hold such a code")
def sentinel_values(case: Case) -> Finding:
    """Numbers, categories, index dates and follow-up times of both sides together."""
    facts = case.facts
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    if frame.empty:
        return Finding(Verdict.INCONCLUSIVE, "there are no rows", "check the snapshot and the split", n=0)
    certain: dict[str, int] = {}
    doubtful: dict[str, int] = {}
    examined = 0
    for column in facts.contract.attributes:
        if column.name not in frame:
            continue
        examined += 1
        found = _texts(frame, column) if column.dtype == "category" else _numbers(frame, column)
        for code, rows, sure in found:
            (certain if sure else doubtful)[f"{column.name} = {code}"] = rows
    for code, rows in _dates(frame, facts.contract.index_date.kind):
        certain[f"index_date = {code}"] = rows
    if facts.contract.endpoint.kind == "survival" and "time" in frame:
        times = measured(frame, "time") / facts.contract.endpoint.days_per_unit
        for code, rows in _inside(np.round(times, 6), LONG * 10):
            certain[f"time = {code:g} {facts.contract.endpoint.time_unit}"] = rows
    mixed = _mixed(frame, [column for column in facts.contract.attributes if column.dtype == "category"])
    common: dict[str, Any] = {
        "value": float(sum(certain.values())),
        "n": len(frame),
        "threshold": "0 rows; one way of saying unknown per column",
        "threshold_source": "a code is no measurement; deepchecks MixedNulls 1",
        "details": {"codes": certain, "doubtful": doubtful, "several_nulls": mixed},
    }
    remedy = "declare the code in `source.missing` or `recode`, so that it becomes a missing value, and ingest again"
    if certain:
        return Finding(Verdict.BLOCK, f"codes for unknown pass for values: {_spoken(certain)}", remedy, **common)
    if doubtful:
        return Finding(Verdict.WARN, f"single values that may be codes: {_spoken(doubtful)}", remedy, **common)
    if mixed:
        text = "; ".join(f"{name}: empty and {', '.join(tokens)}" for name, tokens in mixed.items())
        return Finding(Verdict.WARN, f"more than one way of saying unknown: {text}", remedy, **common)
    return Finding(Verdict.PASS, f"no such code in {examined} columns of {len(frame)} rows", **common)


def _numbers(frame: pd.DataFrame, column: Column) -> Iterator[tuple[str, int, bool]]:
    """(code, rows, certain) of one column of numbers or truth values."""
    values = measured(frame, column.name)
    low, high = (0.0, 1.0) if column.dtype == "boolean" else (column.plausible_range or (-np.inf, np.inf))
    outside = values[(values < low) | (values > high)]
    for code, rows in zip(*np.unique(outside[np.isin(outside, CODES)], return_counts=True), strict=True):
        yield f"{code:g}", int(rows), True
    for code, rows in _inside(values[(values >= low) & (values <= high)], LONG):
        yield f"{code:g}", rows, rows > 1


def _inside(values: np.ndarray, smallest: float) -> Iterator[tuple[float, int]]:
    """Codes among plausible values that lie apart or tower over their neighbourhood, with their rows."""
    suspects = CODES[np.abs(CODES) >= smallest]
    for code in np.unique(values[np.isin(values, suspects)]):
        here = values == code
        rows, others = int(here.sum()), values[~here]
        if len(others) < 10:
            continue
        spread = float(np.ptp(others))
        beyond = max(code - others.max(), others.min() - code)
        distance = np.abs(others - code) / abs(code)
        near, around = int((distance <= NEAR).sum()), others[distance <= AROUND]
        commonest = int(np.unique(around, return_counts=True)[1].max()) if len(around) else 0
        spike = rows >= MIN_SPIKE and rows > SPIKE * min(near, commonest)
        if (spread > 0 and beyond > spread) or spike:
            yield float(code), rows


def _texts(frame: pd.DataFrame, column: Column) -> Iterator[tuple[str, int, bool]]:
    """Words for unknown that the contract does not list as a category."""
    for text, rows in categories(frame, column.name).items():
        if str(text).strip().lower() in TEXTS and str(text) not in (column.categories or ()):
            yield repr(text), int(rows), True


def _dates(frame: pd.DataFrame, kind: str) -> Iterator[tuple[str, int]]:
    """Zero dates that lie years apart from all other index dates; a nominal date is the same for everybody."""
    if kind == "nominal" or "index_date" not in frame or not pd.api.types.is_datetime64_any_dtype(frame["index_date"]):
        return
    dates = frame["index_date"].dropna().to_numpy("datetime64[D]")
    for date in np.unique(dates[np.isin(dates, DATES)]):
        others = dates[dates != date]
        apart = np.abs((others - date).astype(np.int64)).min() if len(others) else 0
        if apart > 365.25 * YEARS_APART:
            yield str(date), int((dates == date).sum())


def _mixed(frame: pd.DataFrame, columns: list[Column]) -> dict[str, list[str]]:
    """Columns in which an empty cell, or another word, stands beside a declared category that means unknown."""
    found = {}
    for column in columns:
        if column.name not in frame:
            continue
        present = categories(frame, column.name).index
        words = sorted(word for word in present if str(word).strip().lower() in TEXTS)
        if words and (len(words) > 1 or frame[column.name].isna().any()):
            found[column.name] = words
    return found


def _spoken(rows: dict[str, int]) -> str:
    return ", ".join(f"{what} ({shown(count)} rows)" for what, count in list(rows.items())[:5])
