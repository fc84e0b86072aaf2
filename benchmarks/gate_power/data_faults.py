"""Faults of the data: what a new extraction brings along when nobody looks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from benchmarks.gate_power.fault import Severity, fault, generator
from benchmarks.gate_power.releases import Release, rescored, with_frames
from clinical_assets.gates.data_quality.drift import leading_features
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.verdict import GateName
from clinical_assets.trials.contract import Column

GATE = GateName.DATA_QUALITY
FACTORS = {"year": 12.0, "day": 1 / 30.44, "month": 30.44, "cm": 1 / 2.54, "kg": 2.205, "mg/dL": 1 / 88.4,
           "g/dL": 10.0, "g/L": 0.1, "mm": 0.1}  # fmt: skip
MONTH = 30.44


def measured(release: Release) -> list[Column]:
    """Measured features with more than a few values, those among the three that tell most about the outcome first."""
    facts = release.facts
    leading = leading_features(facts.train, facts.contract, 3)
    found = [column for column in facts.contract.features if column.measured and facts.train[column.name].nunique() > 8]
    return sorted(found, key=lambda column: column.name not in leading)


def chosen(frame: pd.DataFrame, share: float, rng: np.random.Generator, least: int = 1) -> np.ndarray:
    """(n,) bool, an even draw of the rows."""
    rows = np.zeros(len(frame), bool)
    rows[rng.choice(len(frame), min(len(frame), max(least, round(share * len(frame)))), replace=False)] = True
    return rows


@fault(GATE, "another unit", "DQ1", "DQ5")
def another_unit(release: Release, severity: Severity) -> ReleaseFacts | None:
    """The new rows of a column in another unit: a fifth of them, all, all of two columns."""
    columns = [column for column in measured(release) if column.unit not in (None, "1", "count", "score")]
    if not columns:
        return None
    test = release.facts.test.copy()
    rows = chosen(test, severity.of(0.2, 1.0, 1.0), generator(release, "another unit"))
    for column in columns[: severity.of(1, 1, 2)]:
        test[column.name] = test[column.name].astype(float)
        test.loc[rows, column.name] *= FACTORS.get(str(column.unit), 10.0)
    return rescored(release, test=test)


@fault(GATE, "codes for unknown", "DQ1", "DQ4")
def sentinels(release: Release, severity: Severity) -> ReleaseFacts | None:
    """999 or -9 where a value is unknown."""
    columns = measured(release)
    if not columns:
        return None
    test = release.facts.test.copy()
    rows = chosen(test, severity.of(0.02, 0.05, 0.15), generator(release, "sentinels"), least=2)
    name = columns[0].name
    test[name] = test[name].astype(float)
    test.loc[rows, name] = severity.of(-9.0, 999.0, 9999.0)
    return rescored(release, test=test)


@fault(GATE, "patients under a new identifier in both splits", "DQ7")
def rekeyed(release: Release, severity: Severity) -> ReleaseFacts:
    """2, 5 % or 15 % of the test split are training patients under another identifier."""
    facts = release.facts
    count = max(2, round(severity.of(0.01, 0.05, 0.15) * len(facts.test)))
    rows = facts.train.sample(min(count, len(facts.train)), random_state=1)
    copies, origin = _renamed(rows, facts.test)
    return rescored(release, test=pd.concat([facts.test, copies], ignore_index=True), origin=origin)


@fault(GATE, "rows twice in the test split", "DQ6")
def duplicated(release: Release, severity: Severity) -> ReleaseFacts:
    facts = release.facts
    count = max(2, round(severity.of(0.01, 0.05, 0.15) * len(facts.test)))
    copies, origin = _renamed(facts.test.sample(count, random_state=1), facts.test)
    return rescored(release, test=pd.concat([facts.test, copies], ignore_index=True), origin=origin)


def _renamed(rows: pd.DataFrame, like: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Copies of rows under new identifiers, and which patient each one is."""
    new = [f"new-{number}" for number in range(len(rows))]
    origin = dict(zip(new, rows["subject_id"].astype(str), strict=True))
    return rows.assign(subject_id=pd.Series(new, index=rows.index, dtype=like["subject_id"].dtype)), origin


@fault(GATE, "two columns exchanged", "DQ1", "DQ5", "DQ11")
def permuted(release: Release, severity: Severity) -> ReleaseFacts | None:
    """The values of two measurements under each other's name."""
    columns = [column.name for column in measured(release)]
    if len(columns) < 2:
        return None
    rng = generator(release, "permuted")
    test, names = release.facts.test.copy(), list(rng.permutation(columns))
    rows = chosen(test, severity.of(0.2, 1.0, 1.0), rng)
    pairs = list(zip(names[::2], names[1::2], strict=False))[: severity.of(1, 1, 2)]
    for left, right in pairs:
        both = test[[left, right]].astype(float)
        test[[left, right]] = both
        test.loc[rows, [left, right]] = both.loc[rows, [right, left]].to_numpy()
    return rescored(release, test=test)


@fault(GATE, "columns in another order", "DQ1")
def another_order(release: Release, severity: Severity) -> ReleaseFacts:
    test = release.facts.test
    names = list(test.columns)
    first = 2
    names[first : first + severity.of(2, 3, len(names))] = names[first : first + severity.of(2, 3, len(names))][::-1]
    return replace(release.facts, test=test[names])


@fault(GATE, "a new category", "DQ1", "DQ14")
def new_category(release: Release, severity: Severity) -> ReleaseFacts | None:
    name = _category(release)
    if name is None:
        return None
    test = release.facts.test.copy()
    rows = chosen(test, severity.of(0.01, 0.05, 0.2), generator(release, "new category"))
    test[name] = test[name].astype(object).mask(rows, "not in the contract")
    return rescored(release, test=test)


@fault(GATE, "a category is gone", "DQ14", "DQ11")
def dropped_category(release: Release, severity: Severity) -> ReleaseFacts | None:
    """Rows of a category are coded as another one: half of them, all, all of the most frequent category."""
    name = _category(release)
    if name is None:
        return None
    test = release.facts.test.copy()
    counts = test[name].value_counts()
    if len(counts) < 2:
        return None
    gone, kept = counts.index[severity.of(1, 1, 0)], counts.index[severity.of(0, 0, 1)]
    rows = (test[name] == gone).to_numpy() & chosen(test, severity.of(0.5, 1.0, 1.0), generator(release, "gone"))
    test.loc[rows, name] = kept
    return rescored(release, test=test)


def _category(release: Release) -> str | None:
    """The categorical feature with most categories in use."""
    counts = {column.name: release.facts.train[column.name].nunique() for column in release.facts.contract.features
              if column.dtype == "category"}  # fmt: skip
    return max(counts, key=counts.__getitem__) if counts else None


@fault(GATE, "outcome with the opposite meaning", "DQ9", "DQ13")
def polarity(release: Release, severity: Severity) -> ReleaseFacts:
    """The event indicator of the new rows, or of all, means censored."""
    facts = release.facts
    name = "label" if "label" in facts.test else "event"
    share, both = severity.of((0.3, False), (1.0, False), (1.0, True))
    test = facts.test.copy()
    rows = chosen(test, share, generator(release, "polarity"))
    test[name] = test[name].mask(rows, 1 - test[name])
    train = facts.train.assign(**{name: 1 - facts.train[name]}) if both else None
    return with_frames(facts, train, test)


@fault(GATE, "impossible dates", "DQ1", "DQ9", "DQ10")
def impossible_dates(release: Release, severity: Severity) -> ReleaseFacts | None:
    """Follow-up that ends before it begins; with real dates, patients indexed in the future."""
    facts = release.facts
    test = facts.test.copy()
    rows = chosen(test, severity.of(0.01, 0.05, 0.2), generator(release, "dates"))
    if facts.contract.index_date.kind == "calendar":
        test.loc[rows, "index_date"] += pd.DateOffset(years=60)
    elif "time" in test:
        test.loc[rows, "time"] *= -1.0
    else:
        return None
    return with_frames(facts, test=test)


@fault(GATE, "follow-up in months", "DQ9", "DQ13", "MP17")
def follow_up_in_months(release: Release, severity: Severity) -> ReleaseFacts | None:
    facts = release.facts
    if "time" not in facts.test:
        return None
    test = facts.test.copy()
    rows = chosen(test, severity.of(0.2, 1.0, 1.0), generator(release, "months"))
    test.loc[rows, "time"] /= MONTH
    train = facts.train.assign(time=facts.train["time"] / MONTH) if severity is Severity.SEVERE else None
    return with_frames(facts, train, test)


@fault(GATE, "another population", "DQ11")
def drift(release: Release, severity: Severity) -> ReleaseFacts | None:
    """The leading measurement moves by .3, 1 or 2 standard deviations, inside its plausible range."""
    columns = measured(release)
    if not columns:
        return None
    test, column = release.facts.test.copy(), columns[0]
    values = test[column.name].astype(float)
    moved = values + severity.of(0.3, 1.0, 2.0) * float(values.std())
    test[column.name] = moved.clip(*column.plausible_range) if column.plausible_range else moved
    if column.dtype == "integer":
        test[column.name] = test[column.name].round()
    return rescored(release, test=test)


@fault(GATE, "events not recorded", "DQ13", "DQ9")
def outcome_shift(release: Release, severity: Severity) -> ReleaseFacts:
    """A share of the new patients' events are missing: a registry that lags behind."""
    facts = release.facts
    name = "label" if "label" in facts.test else "event"
    test = facts.test.copy()
    lost = chosen(test, severity.of(0.2, 0.7, 1.0), generator(release, "outcome shift"))
    test[name] = test[name].mask(lost, 0)
    return with_frames(facts, test=test)


@fault(GATE, "a column is not filled in", "DQ3")
def missing(release: Release, severity: Severity) -> ReleaseFacts:
    test = release.facts.test.copy()
    name = release.facts.contract.features[0].name
    lost = chosen(test, severity.of(0.1, 0.5, 1.0), generator(release, "missing"))
    test[name] = test[name].astype(object).mask(lost, None) if test[name].dtype == object else test[name].mask(lost)
    return rescored(release, test=test)


@fault(GATE, "another file than the manifest says", "DQ18")
def another_file(release: Release, severity: Severity) -> ReleaseFacts:
    key = severity.of("table_sha256", "table_sha256", "rows")
    return replace(release.facts, recomputed={**release.facts.recomputed, key: "0" * 64 if key != "rows" else 1})
