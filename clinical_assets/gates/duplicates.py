"""Rows that are equal but for their identifier, against the number that chance alone would give.

In a cohort of few coarse columns two patients may well agree in everything; in one with laboratory values they do
not. Two ways to put a number to it, of which the smaller counts: features and outcome taken as independent, (pairs with
equal features) x P(equal outcomes); and three or more finely measured columns taken as independent of each other. A
Poisson tail says whether the pairs found are more than that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.trials.contract import CohortContract

CHANCE = 0.01
"""More pairs than coincidence explains: Poisson tail probability below this."""

INFORMATIVE = 0.05
"""Outcomes that two subjects share less often than this (times, not labels) tell copies from look-alikes."""

FINE = 50
"""Distinct values from which a column counts as finely measured."""


@dataclass(frozen=True)
class EqualPairs:
    """`expected` under coincidence; `tail` = P(at least `found` pairs | coincidence)."""

    found: int
    expected: float
    tail: float

    @property
    def beyond_chance(self) -> bool:
        return self.found > 0 and self.tail < CHANCE


def pairs_within(frame: pd.DataFrame, contract: CohortContract) -> EqualPairs:
    """Pairs of rows of one frame that agree in all features and the outcome, whatever their identifiers and dates."""
    features, outcome = _fingerprints(frame, contract)
    total = len(frame) * (len(frame) - 1) / 2
    found, alike = _pairs(_joint(features, outcome)), _pairs(features)
    chance = [_pairs(_six_digits(frame[name].to_numpy(np.float64))) for name in _fine(frame, contract)]
    return _against_chance(found, alike, _pairs(outcome), chance, total)


def pairs_between(first: pd.DataFrame, second: pd.DataFrame, contract: CohortContract) -> EqualPairs:
    """Pairs of one row from each frame that agree in every feature and in the outcome."""
    (fa, oa), (fb, ob) = _fingerprints(first, contract), _fingerprints(second, contract)
    total = float(len(first) * len(second))
    chance = [
        _cross(_six_digits(first[name].to_numpy(np.float64)), _six_digits(second[name].to_numpy(np.float64)))
        for name in _fine(first, contract)
    ]
    return _against_chance(_cross(_joint(fa, oa), _joint(fb, ob)), _cross(fa, fb), _cross(oa, ob), chance, total)


def _against_chance(found: int, alike: int, outcomes: int, columns: list[int], total: float) -> EqualPairs:
    """`alike`, `outcomes` and `columns` count the pairs with equal features, outcome, and each fine column."""
    from scipy.stats import poisson

    if not found:
        return EqualPairs(0, 0.0, 1.0)
    share = outcomes / total
    expected = (alike - found) * share / (1.0 - share) if share < INFORMATIVE else alike * share
    if len(columns) >= 3:
        expected = min(expected, total * float(np.prod([count / total for count in columns])))
    return EqualPairs(found, expected, float(poisson.sf(found - 1, expected)))


def _fine(frame: pd.DataFrame, contract: CohortContract) -> list[str]:
    """Numeric columns with so many values that agreement means something."""
    names = [column.name for column in contract.features if column.numeric]
    return [name for name in names if frame[name].nunique() >= FINE]


def _fingerprints(frame: pd.DataFrame, contract: CohortContract) -> tuple[np.ndarray, np.ndarray]:
    """(n,) hashes of the features and of the outcome; numbers are compared to six significant digits."""
    return _hash(frame[[column.name for column in contract.attributes]]), _hash(frame[list(contract.outcome_names)])


def _hash(columns: pd.DataFrame) -> np.ndarray:
    coarse = columns.copy()
    for name in columns.columns:
        if pd.api.types.is_numeric_dtype(columns[name]):
            values = columns[name].to_numpy(dtype=np.float64, na_value=np.nan)
            coarse[name] = _six_digits(values)
        else:
            coarse[name] = columns[name].astype(object).where(columns[name].notna(), None).astype(str)
    return pd.util.hash_pandas_object(coarse, index=False).to_numpy()


def _six_digits(values: np.ndarray) -> np.ndarray:
    usable = np.isfinite(values) & (values != 0)
    scale = 10.0 ** (5 - np.floor(np.log10(np.abs(values, where=usable, out=np.ones_like(values)))))
    return np.where(usable, np.round(values * scale) / scale, values)


def _joint(features: np.ndarray, outcome: np.ndarray) -> np.ndarray:
    return features ^ (outcome * np.uint64(0x9E3779B97F4A7C15))


def _pairs(keys: np.ndarray) -> int:
    counts = np.unique(keys, return_counts=True)[1].astype(np.int64)
    return int((counts * (counts - 1) // 2).sum())


def _cross(first: np.ndarray, second: np.ndarray) -> int:
    left, right = np.unique(first, return_counts=True), np.unique(second, return_counts=True)
    _, at_left, at_right = np.intersect1d(left[0], right[0], assume_unique=True, return_indices=True)
    return int((left[1][at_left].astype(np.int64) * right[1][at_right]).sum())
