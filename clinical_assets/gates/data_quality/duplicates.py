"""Rows that are equal but for their identifier, against the number that chance alone would give.

In a cohort of few coarse columns two patients may well agree in everything; in one with laboratory values they do
not. Three ways to put a number to it, of which the most telling counts. By outcome: pairs that agree in all features
and in an outcome that hardly anybody else has (a follow-up time in days; not "alive at the data cut", not a label),
expected (pairs with equal features) x P(such an outcome is shared). By features: five or more finely measured columns,
taken as independent of each other. A Poisson tail says whether the pairs found are more than that. The third, for
coarse columns, is in `coincidences`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.trials.contract import CohortContract

CHANCE, WAYS = 0.01, 3
"""More pairs than coincidence explains: tail probability below this, shared out among the ways to reckon it."""

RARE = 3
"""Subjects up to which an outcome counts as one that hardly anybody else has."""

FINE, FINE_COLUMNS = 50, 5
"""Distinct values from which a column counts as finely measured, and how many such columns are needed."""


@dataclass(frozen=True)
class EqualPairs:
    """`found` pairs in all; `expected` of the more telling kind under coincidence, `tail` = P(at least as many)."""

    found: int
    expected: float
    tail: float

    @property
    def beyond_chance(self) -> bool:
        return self.found > 0 and self.tail < CHANCE / WAYS


def more_telling(first: EqualPairs, second: EqualPairs) -> EqualPairs:
    return second if second.tail < first.tail else first


def pairs_within(frame: pd.DataFrame, contract: CohortContract) -> EqualPairs:
    """Pairs of rows of one frame that agree in all features and the outcome, whatever their identifiers and dates."""
    features, outcome = fingerprints(frame, contract)
    rare = _rare(outcome, outcome)
    total = len(frame) * (len(frame) - 1) / 2
    return _against_chance(
        found=pairs(_joint(features, outcome)),
        telling=pairs(_joint(features, outcome)[rare]),
        alike=pairs(features),
        shared=pairs(outcome[rare]),
        columns=[pairs(_six_digits(frame[name].to_numpy(np.float64))) for name in _fine(frame, contract)],
        total=total,
    )


def pairs_between(first: pd.DataFrame, second: pd.DataFrame, contract: CohortContract) -> EqualPairs:
    """Pairs of one row from each frame that agree in every feature and in the outcome."""
    (fa, oa), (fb, ob) = fingerprints(first, contract), fingerprints(second, contract)
    everybody = np.concatenate([oa, ob])
    ra, rb = _rare(oa, everybody), _rare(ob, everybody)
    columns = [
        crossing_pairs(_six_digits(first[name].to_numpy(np.float64)), _six_digits(second[name].to_numpy(np.float64)))
        for name in _fine(first, contract)
    ]
    return _against_chance(
        found=crossing_pairs(_joint(fa, oa), _joint(fb, ob)),
        telling=crossing_pairs(_joint(fa, oa)[ra], _joint(fb, ob)[rb]),
        alike=crossing_pairs(fa, fb),
        shared=crossing_pairs(oa[ra], ob[rb]),
        columns=columns,
        total=float(len(first) * len(second)),
    )


def near_pairs_between(first: pd.DataFrame, second: pd.DataFrame, contract: CohortContract) -> EqualPairs:
    """Pairs of one row from each frame that agree in who the patient is and in the outcome, whatever was measured.

    Who the patient is: sensitive attributes (sex, age, so the year of birth), categories and yes-or-no features
    (stage, histology), and the index date where it is a real one. Agreement counts only with a rare outcome.
    """
    names = [column.name for column in contract.attributes if column.sensitive or not column.measured]
    dated = ["index_date"] if contract.index_date.kind == "calendar" else []
    if not names:
        return EqualPairs(0, 0.0, 1.0)
    ia, ib = row_keys(first[names + dated]), row_keys(second[names + dated])
    (_, oa), (_, ob) = fingerprints(first, contract), fingerprints(second, contract)
    everybody = np.concatenate([oa, ob])
    ra, rb = _rare(oa, everybody), _rare(ob, everybody)
    telling = crossing_pairs(_joint(ia, oa)[ra], _joint(ib, ob)[rb])
    total = float(len(first) * len(second))
    return _against_chance(telling, telling, crossing_pairs(ia, ib), crossing_pairs(oa[ra], ob[rb]), [], total)


def expected_equal_pairs(frame: pd.DataFrame, contract: CohortContract) -> float:
    """Pairs of rows equal in all features that chance makes if the features are independent of each other."""
    n = len(frame)
    alike = [pairs(row_keys(frame[[column.name]])) for column in contract.attributes]
    total = n * (n - 1) / 2
    return total * float(np.prod([count / total for count in alike])) if total else 0.0


def _against_chance(found: int, telling: int, alike: int, shared: int, columns: list[int], total: float) -> EqualPairs:
    """Counts of pairs: equal in all, of these with a rare outcome; equal features; a shared rare outcome; each fine
    column equal; all pairs."""
    from scipy.stats import poisson

    if not found or not total:
        return EqualPairs(0, 0.0, 1.0)
    share = shared / total
    expected = (alike - telling) * share / (1.0 - share)
    results = [EqualPairs(found, expected, float(poisson.sf(telling - 1, expected)) if telling else 1.0)]
    if len(columns) >= FINE_COLUMNS:
        expected = total * float(np.prod([count / total for count in columns]))
        results.append(EqualPairs(found, expected, float(poisson.sf(found - 1, expected))))
    return min(results, key=lambda result: result.tail)


def _rare(outcome: np.ndarray, everybody: np.ndarray) -> np.ndarray:
    """(n,) whether the outcome occurs at most `RARE` times in `everybody`."""
    values, counts = np.unique(everybody, return_counts=True)
    return counts[np.searchsorted(values, outcome)] <= RARE


def _fine(frame: pd.DataFrame, contract: CohortContract) -> list[str]:
    """Numeric columns with so many values that agreement means something."""
    names = [column.name for column in contract.features if column.numeric]
    return [name for name in names if frame[name].nunique() >= FINE]


def fingerprints(frame: pd.DataFrame, contract: CohortContract) -> tuple[np.ndarray, np.ndarray]:
    """(n,) hashes of the features and of the outcome; numbers are compared to six significant digits."""
    return row_keys(frame[[column.name for column in contract.attributes]]), row_keys(
        frame[list(contract.outcome_names)]
    )


def row_keys(columns: pd.DataFrame) -> np.ndarray:
    """(n,) hash of each row; numbers count to six significant digits."""
    coarse = columns.copy()
    for name in columns.columns:
        if pd.api.types.is_numeric_dtype(columns[name]):
            coarse[name] = _six_digits(columns[name].to_numpy(dtype=np.float64, na_value=np.nan))
        else:
            coarse[name] = columns[name].astype(object).where(columns[name].notna(), None).astype(str)
    return pd.util.hash_pandas_object(coarse, index=False).to_numpy()


def _six_digits(values: np.ndarray) -> np.ndarray:
    usable = np.isfinite(values) & (values != 0)
    scale = 10.0 ** (5 - np.floor(np.log10(np.abs(values, where=usable, out=np.ones_like(values)))))
    return np.where(usable, np.round(values * scale) / scale, values) + 0.0  # -0 becomes 0


def _joint(features: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return features ^ (outcome * np.uint64(0x9E3779B97F4A7C15))


def pairs(keys: np.ndarray) -> int:
    """Pairs of equal keys."""
    counts = np.unique(keys, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def crossing_pairs(first: np.ndarray, second: np.ndarray) -> int:
    """Pairs of equal keys, one from each."""
    left, right = np.unique(first, return_counts=True), np.unique(second, return_counts=True)
    _, at_left, at_right = np.intersect1d(left[0], right[0], assume_unique=True, return_indices=True)
    return int((left[1][at_left].astype(np.int64) * right[1][at_right]).sum())
