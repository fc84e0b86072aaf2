"""Traces of a cohort in an array of numbers: whole rows, whole columns, or one value for each patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product

import numpy as np
import pandas as pd

from clinical_assets.modeling.encoder import Encoder, encode_columns, features_of
from clinical_assets.trials.contract import CohortContract

FEWEST_ROWS, WIDE = 3, 5
"""Distinct rows with two broken numbers or more that equal patients': learnt values do not, to seven digits. Narrow
rows of a tree's thresholds do now and then, so from rows under `WIDE` values a tenth of the array must."""

FEWEST_PLAIN_ROWS = 10
"""Rows of whole numbers coincide more easily: so many distinct ones must, and they must be half of the array."""

FEWEST_VALUES = 20
"""Length and distinct values from which an array can be recognised as a column."""

MOST_COLUMNS, MOST_ASSIGNMENTS = 4, 64
"""Columns of an array that are looked for among the cohort's, and ways to assign them."""

SHIFTS, COINCIDENCE = 10, 1e-6
"""Shifts that show how often columns that do not belong together agree with a patient; probability that is none."""

LARGEST = 20_000_000
MOST_PATIENTS = 200_000
"""Of a larger split, an even sample is searched for: a stored matrix holds some of them. A stored column of it shows by
its length alone (`one_each`)."""

_MISSING = -1e30


@dataclass(frozen=True)
class _Layout:
    """The cohort as one matrix (patients, columns) that a model might keep."""

    values: np.ndarray

    @cached_property
    def strong(self) -> np.ndarray:
        return np.unique(_keys(self.values[_broken(self.values)]))

    @cached_property
    def rows(self) -> np.ndarray:
        return np.unique(_keys(self.values))

    @cached_property
    def ordered(self) -> np.ndarray:
        return np.sort(self.values, axis=0)


@dataclass(frozen=True)
class CohortTraces:
    """`layouts` as raw codes, with outcomes, outcomes alone, and as the model's own encoder gives them."""

    layouts: tuple[_Layout, ...]
    lengths: frozenset[int]

    @classmethod
    def of(cls, contract: CohortContract, frames: Sequence[pd.DataFrame], encoder: Encoder | None) -> CohortTraces:
        matrices: list[np.ndarray] = []
        for frame in (_sampled(frame) for frame in frames):
            codes = _codes(contract, frame)
            outcomes = frame[list(contract.outcome_names)].to_numpy(np.float64)
            matrices += [codes, np.hstack([codes, outcomes]), outcomes]
            if encoder is not None and len(encoder.features) == codes.shape[1]:
                matrices.append(encoder.encode(codes))
            subjects = pd.to_numeric(frame["subject_id"], errors="coerce").to_numpy(np.float64)
            if (subjects > 9999).all():  # a smaller number is a row number, and names nobody
                matrices.append(subjects[:, None])
        return cls(tuple(_Layout(_filled(matrix)) for matrix in matrices), frozenset(map(len, frames)))

    def found_in(self, array: np.ndarray) -> str:
        """What of the cohort is in the array, in words; empty when nothing is."""
        filled = _filled(array)
        return self._rows_in(filled) or self._column_in(filled) or self._part_in(filled)

    def one_each(self, array: np.ndarray) -> bool:
        """As many values as a split has patients, in no order: something was stored for each of them."""
        return any(
            len(vector) in self.lengths and len(np.unique(vector)) >= FEWEST_VALUES and not _monotone(vector)
            for vector in _vectors(array)
        )

    def _rows_in(self, array: np.ndarray) -> str:
        for layout in self.layouts:
            width = layout.values.shape[1]
            if width < 2 or array.size % width or not FEWEST_ROWS * width <= array.size <= LARGEST:
                continue
            for rows in (array.reshape(-1, width), array.reshape(width, -1).T):
                both = len(np.intersect1d(_keys(rows[_broken(rows)]), layout.strong))
                if both >= FEWEST_ROWS and (width >= WIDE or 10 * both >= len(rows)):
                    return f"{both} rows that equal patients in {width} values"
                keys = np.unique(_keys(rows))
                both = len(np.intersect1d(keys, layout.rows))
                if both >= FEWEST_PLAIN_ROWS and 2 * both >= len(keys):
                    return f"{both} of {len(keys)} distinct rows equal patients in {width} values"
        return ""

    def _column_in(self, array: np.ndarray) -> str:
        """A column, in the order of its rows or sorted.

        Increasing distinct times are the support of a curve (Kaplan-Meier, Breslow), published as a matter of course.
        """
        for vector in _vectors(array):
            if len(np.unique(vector)) < FEWEST_VALUES:
                continue
            near = 1e-6 * np.maximum(np.abs(vector), 1e-3)[:, None]
            ordered = np.sort(vector)
            near_ordered = 1e-6 * np.maximum(np.abs(ordered), 1e-3)[:, None]
            for layout in (one for one in self.layouts if len(one.values) == len(vector)):
                in_order = (np.abs(layout.values - vector[:, None]) <= near).all(axis=0).any()
                same = (np.abs(layout.ordered - ordered[:, None]) <= near_ordered).all(axis=0).any()
                if (in_order or same) and not (_monotone(vector) and len(np.unique(vector)) == len(vector)):
                    return f"{len(vector)} values that equal a column of the cohort"
        return ""

    def _part_in(self, array: np.ndarray) -> str:
        """Some columns of patients, in any order: nine rows in ten agree with a patient's in the two to four columns
        that tell most, which is no coincidence by how many do once the columns are shifted against each other.
        """
        from scipy.stats import binom

        if array.ndim != 2 or array.size > LARGEST:
            return ""
        for rows in (array, array.T):
            if len(rows) < FEWEST_PLAIN_ROWS or not 2 <= rows.shape[1] <= 1000:
                continue
            kept = sorted(range(rows.shape[1]), key=lambda place: -len(np.unique(rows[:, place])))[:MOST_COLUMNS]
            told = rows[:, kept]
            if len(np.unique(told, axis=0)) < FEWEST_PLAIN_ROWS:
                continue
            shifted = np.vstack(
                [
                    np.column_stack([np.roll(told[:, place], step * place) for place in range(told.shape[1])])
                    for step in range(1, SHIFTS)
                ]
            )
            for layout in self.layouts:
                for columns in _assignments(told, layout.values):
                    known = np.unique(_keys(layout.values[:, columns]))
                    width = len(columns)
                    same, by_chance = (np.isin(_keys(part[:, :width]), known).mean() for part in (told, shifted))
                    if same >= 0.9 and binom.sf(round(same * len(rows)) - 1, len(rows), by_chance) < COINCIDENCE:
                        return f"{round(same * len(rows))} rows that equal patients in {width} columns"
        return ""


def _assignments(rows: np.ndarray, values: np.ndarray) -> Iterator[list[int]]:
    """Which columns of `values` the columns of `rows` may be: those that hold all their values, most told first."""
    single = values.astype(np.float32)
    candidates = []
    for column in rows.T.astype(np.float32):
        holding = [place for place in range(single.shape[1]) if np.isin(column, single[:, place]).mean() >= 0.95]
        if not holding:
            break
        candidates.append(holding)
    if len(candidates) < 2:
        return
    tried = (list(places) for places in product(*candidates) if len(set(places)) == len(places))
    yield from islice(tried, MOST_ASSIGNMENTS)


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    if len(frame) <= MOST_PATIENTS:
        return frame
    return frame.iloc[np.linspace(0, len(frame) - 1, MOST_PATIENTS).astype(int)]


def _codes(contract: CohortContract, frame: pd.DataFrame) -> np.ndarray:
    """(n, features); numbers alone where a category lies outside the contract, which is for other checks to say."""
    try:
        return encode_columns(features_of(contract), frame)
    except ValueError:
        names = [column.name for column in contract.features if column.numeric and column.name in frame]
        return frame[names].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)


def _vectors(array: np.ndarray) -> Iterator[np.ndarray]:
    """The array, or its lines along the longer axis."""
    if array.ndim == 1:
        yield array
    elif array.ndim == 2 and min(array.shape) <= 1000:
        yield from array if array.shape[0] < array.shape[1] else array.T


def _monotone(vector: np.ndarray) -> bool:
    steps = np.diff(vector)
    return bool((steps >= 0).all() or (steps <= 0).all())


def _filled(array: np.ndarray) -> np.ndarray:
    return np.nan_to_num(np.asarray(array, dtype=np.float64), nan=_MISSING, posinf=-_MISSING, neginf=_MISSING)


def _broken(rows: np.ndarray) -> np.ndarray:
    """(n,) rows with two different numbers or more that are not whole."""
    whole = rows == np.round(rows)
    first = np.take_along_axis(rows, np.argmin(whole, axis=1)[:, None], axis=1)
    return (~whole & (rows != first)).any(axis=1)


def _keys(rows: np.ndarray) -> np.ndarray:
    """(n,) uint64 hash of each row at single precision."""
    single = rows.astype(np.float32) + np.float32(0.0)
    return pd.util.hash_pandas_object(pd.DataFrame(single), index=False).to_numpy() if len(rows) else np.array([])
