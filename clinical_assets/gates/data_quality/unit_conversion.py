"""DQ5: are the numbers in the unit that the contract declares? By range, and by factor against a reference.

Ranges on values alone raise false alarms where units differ (OHDSI DataQualityDashboard gave them up for plausible
units); so a range belongs to one column with one unit, and a shift counts only if a conversion factor explains it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.policy import DataQualityPolicy
from clinical_assets.gates.data_quality.reference_cohort import Comparison, comparisons, measured
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import Column

DECIMAL = {"a decimal place": 10.0, "percent to share": 100.0, "a metric prefix": 1000.0}
TIME = {"days to weeks": 7.0, "weeks to months": 30.4375 / 7, "days to months": 30.4375, "months to years": 12.0,
        "weeks to years": 365.25 / 7, "days to years": 365.25}  # fmt: skip
LENGTH = {"millimetres to centimetres": 10.0, "centimetres to metres": 100.0, "centimetres to inches": 2.54,
          "millimetres to inches": 25.4}  # fmt: skip
MASS = {"pounds to kilograms": 2.205, "grams to kilograms": 1000.0, "ounces to grams": 28.35}
CHEMISTRY = {"glucose mg/dL to mmol/L": 18.02, "creatinine umol/L to mg/dL": 88.4, "bilirubin umol/L to mg/dL": 17.1,
             "cholesterol mg/dL to mmol/L": 38.67, "calcium mg/dL to mmol/L": 4.008, "dL to L": 10.0,
             "percent to share": 100.0, "a metric prefix": 1000.0}  # fmt: skip
PRESSURE = {"cm[Hg] to mm[Hg]": 10.0, "mm[Hg] to kPa": 7.50062}
ENERGY = {"kJ to kcal": 4.184, **DECIMAL}
AREA = {"mm2 to cm2": 100.0, "cm2 to m2": 10_000.0, "square centimetres to square inches": 6.4516}

_FAMILIES = {
    **dict.fromkeys(("day", "week", "month", "year"), TIME),
    **dict.fromkeys(("mm", "cm", "um"), LENGTH | {"a metric prefix": 1000.0}),
    **dict.fromkeys(("kg", "g", "lb"), MASS),
    **dict.fromkeys(("mg/dL", "g/dL", "g/L", "umol/L", "mmol/L", "ng/mL", "ug/L", "fmol/mg"), CHEMISTRY),
    **dict.fromkeys(("mm[Hg]", "cm[Hg]"), PRESSURE),
    **dict.fromkeys(("cm2", "m2", "um2"), AREA),
    "kcal/day": ENERGY,
}  # fmt: skip

MIN_ROWS, MIN_PART = 20, 5
"""Values on either side for a comparison of medians; values that may form a part in another unit."""
MIN_DISTINCT = 15
"""Distinct values from which a column is measured finely enough to see a part of it lie apart."""
TAIL = 0.005


@dataclass(frozen=True)
class WrongUnit:
    """`rows` values of a column look as if converted by `factor` (above 1: too large), named `conversion`."""

    column: str
    unit: str
    conversion: str
    factor: float
    rows: int
    where: str

    def __str__(self) -> str:
        return (
            f"{self.column} ({self.unit}): {self.rows} values {self.where} are off by a factor of about "
            f"{self.factor:.4g} ({self.conversion})"
        )


@dataclass(frozen=True)
class Quantity:
    """A column's name and unit."""

    name: str
    unit: str | None


def follow_up_converted(comparison: Comparison, policy: DataQualityPolicy) -> Iterator[WrongUnit]:
    """Follow-up times that are those of the reference in another unit of time."""
    reference, current = (measured(frame, "time") for frame in (comparison.reference, comparison.current))
    if min(len(reference), len(current)) >= MIN_ROWS:
        times = Quantity("follow-up", "day")
        yield from _shifted(times, reference, current, comparison, policy, policy.coincidence)


def conversions(unit: str | None) -> dict[str, float]:
    """Conversion factors, all above 1, by which a column of this unit may be wrong in either direction."""
    return _FAMILIES.get(unit or "", DECIMAL)


@check(GateName.DATA_QUALITY, "DQ5", "Units are plausible", "columns that look converted")
def unit_plausibility(case: Case) -> Finding:
    """Median within the declared range; no shift, of all values or of a part, that a unit conversion explains."""
    facts, policy = case.facts, case.policy.data_quality
    columns = [column for column in facts.contract.attributes if column.measured]
    sides = [(side, frame) for side, frame in (("in train", facts.train), ("in test", facts.test)) if len(frame)]
    compared = comparisons(case)
    found: dict[str, WrongUnit] = {}
    ratios: dict[str, float] = {}
    examined = 0
    for column in columns:
        known = [(side, measured(frame, column.name)) for side, frame in sides if column.name in frame]
        examined += any(len(values) > 0 for _, values in known)
        hits = [hit for side, values in known for hit in _by_range(column, values, side, policy)]
        for comparison in compared:
            if column not in comparison.columns(facts.contract):
                continue
            reference, current = (measured(frame, column.name) for frame in (comparison.reference, comparison.current))
            if min(len(reference), len(current)) < MIN_ROWS:
                continue
            chance = policy.coincidence / len(columns)
            ratios[f"{column.name}, {comparison.name}"] = _ratio(reference, current)
            hits += _shifted(column, reference, current, comparison, policy, chance)
            hits += _tail(column, reference, current, comparison, policy, chance)
        everybody = np.concatenate([values for _, values in known]) if known else np.array([])
        hits += _apart(column, everybody, policy)
        if hits:
            found[column.name] = hits[0]
    common: dict[str, Any] = {
        "value": float(len(found)),
        "n": len(facts.train) + len(facts.test),
        "threshold": f"0 columns beyond their range or within {policy.unit_tolerance:.0%} of a conversion factor",
        "threshold_source": "OHDSI DataQualityDashboard, plausible units; UCUM conversion factors",
        "details": {"wrong": {name: str(hit) for name, hit in found.items()}, "median_ratios": ratios},
    }
    if found:
        text = "; ".join(str(hit) for hit in list(found.values())[:4])
        return Finding(Verdict.BLOCK, text, "convert the values at the source and ingest again", **common)
    if not columns:
        common["value"] = None
        return Finding(Verdict.PASS, "does not apply: no column has a unit", **common)
    if not examined:
        return Finding(Verdict.INCONCLUSIVE, "no measured value in any column", "check the snapshot", **common)
    against = (
        ", ".join(dict.fromkeys(comparison.name for comparison in compared)) if ratios else "no reference: too few"
    )
    return Finding(Verdict.PASS, f"{examined} measured columns are in their declared units ({against})", **common)


def _by_range(column: Column, values: np.ndarray, side: str, policy: DataQualityPolicy) -> Iterator[WrongUnit]:
    """Values beyond the range that a conversion brings back; a median beyond it is wrong in any case."""
    if column.plausible_range is None or not len(values):
        return
    low, high = column.plausible_range
    outside = values[(values < low) | (values > high)]
    if not len(outside):
        return
    inside = values[(values >= low) & (values <= high)]
    middle = float(np.median(inside)) if len(inside) >= MIN_ROWS else 0.0
    for name, factor in _both_ways(column):
        back = outside / factor
        fits = ((back >= low) & (back <= high)).mean() > 0.9
        typical = float(np.median(back))
        near = middle <= 0 or typical <= 0 or abs(np.log(typical / middle)) < np.log(2.0)
        if fits and near and len(outside) >= min(MIN_PART, len(values)):
            yield WrongUnit(column.name, column.unit or "", name, factor, len(outside), side)
            return
    if not low <= np.median(values) <= high:
        yield WrongUnit(column.name, column.unit or "", "no known conversion", float("nan"), len(outside), side)


def _shifted(
    column: Column | Quantity,
    reference: np.ndarray,
    current: np.ndarray,
    comparison: Comparison,
    policy: DataQualityPolicy,
    chance: float,
) -> Iterator[WrongUnit]:
    """All values shifted: the ratio of medians is a factor, and dividing by it makes the samples much more alike."""
    from scipy.stats import ks_2samp

    ratio = _ratio(reference, current)
    slack = np.log1p(policy.unit_tolerance) + 2.0 * float(np.hypot(_log_error(reference), _log_error(current)))
    fitting = [(name, factor) for name, factor in _both_ways(column) if abs(np.log(ratio / factor)) <= slack]
    before = ks_2samp(reference, current, method="asymp")
    if not fitting or before.pvalue >= chance:
        return
    after = {fit: float(ks_2samp(reference, current / fit[1], method="asymp").statistic) for fit in fitting}
    (name, factor), distance = min(after.items(), key=lambda item: item[1])
    if distance < 0.5 * before.statistic:
        yield WrongUnit(column.name, column.unit or "", name, factor, len(current), comparison.name)


def _tail(
    column: Column,
    reference: np.ndarray,
    current: np.ndarray,
    comparison: Comparison,
    policy: DataQualityPolicy,
    chance: float,
) -> Iterator[WrongUnit]:
    """A part shifted: more values beyond the reference's tails than chance puts there, all off by one factor."""
    from scipy.stats import binom

    if len(np.unique(reference)) < MIN_DISTINCT:
        return
    middle = float(np.median(reference))
    if middle <= 0:
        return
    low, high = np.quantile(reference, (TAIL, 1.0 - TAIL))
    expected = TAIL + 2.0 / len(reference)
    for part in (current[current > high], current[(current < low) & (current > 0)]):
        if len(part) < MIN_PART or binom.sf(len(part) - 1, len(current), expected) >= chance:
            continue
        for name, factor in _both_ways(column):
            if (factor > 1) != (np.median(part) > middle):
                continue
            back = part / factor
            explained = ((back >= low) & (back <= high)).mean() > 0.9
            if explained and abs(np.log(np.median(back) / middle)) <= np.log1p(policy.unit_tolerance):
                yield WrongUnit(column.name, column.unit or "", name, factor, len(part), comparison.name)
                return


def _apart(column: Column, values: np.ndarray, policy: DataQualityPolicy) -> Iterator[WrongUnit]:
    """Two clusters a conversion factor apart, with a wide gap between them, within the cohort itself."""
    values = np.sort(values[values > 0])
    if len(values) < 4 * MIN_PART or len(np.unique(values)) < MIN_DISTINCT:
        return
    logs = np.log(values)
    gaps = np.diff(logs)
    at = int(np.argmax(gaps)) + 1
    below, above = values[:at], values[at:]
    if min(len(below), len(above)) < max(MIN_PART, 0.01 * len(values)):
        return
    ratio = float(np.median(above) / np.median(below))
    for name, factor in conversions(column.unit).items():
        if abs(np.log(ratio / factor)) <= np.log1p(policy.unit_tolerance) and gaps[at - 1] > 0.3 * np.log(factor):
            part, wrong = (above, factor) if len(above) <= len(below) else (below, 1.0 / factor)
            yield WrongUnit(column.name, column.unit or "", name, wrong, len(part), "apart from the others")
            return


def _both_ways(column: Column | Quantity) -> Iterator[tuple[str, float]]:
    for name, factor in conversions(column.unit).items():
        yield name, factor
        yield name, 1.0 / factor


def _ratio(reference: np.ndarray, current: np.ndarray) -> float:
    """Ratio of the medians of the positive values; 1 where there are none."""
    up, down = current[current > 0], reference[reference > 0]
    return float(np.median(up) / np.median(down)) if len(up) and len(down) else 1.0


def _log_error(values: np.ndarray) -> float:
    """Standard error of the logarithm of the median of the positive values, from the order statistics around it."""
    positive = values[values > 0]
    if len(positive) < MIN_PART:
        return 0.0
    half = 0.5 / np.sqrt(len(positive))
    low, high = np.quantile(positive, (0.5 - half, 0.5 + half))
    return float(np.log(high / low)) / 2.0
