"""One spelling for one code: 1, 1.0, True of different file formats mean the same."""

from __future__ import annotations

import contextlib
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

_EQUAL_MEANS_SAME = {
    *("boolean", "categorical", "date", "datetime64", "empty", "floating", "integer", "mixed-integer-float"),
}
"""Kinds of content other than text in which equal values have the same meaning."""


def code(value: object) -> str | None:
    """Text of a code or identifier; None for a missing value. Text is kept, so that `007` stays `007`."""
    if isinstance(value, str):
        return value.strip()
    if pd.isna(value):  # type: ignore[call-overload]
        return None
    if isinstance(value, Integral | np.bool_):
        return str(int(value))
    if isinstance(value, Real):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return str(value)


def codes(values: pd.Series) -> pd.Series:
    """`code` of every value, with a fresh index."""
    position, different = distinct(values)
    return laid_out([code(value) for value in different], position)


def distinct(values: pd.Series) -> tuple[np.ndarray, list[Any]]:
    """(n,) positions in the list of the values that may differ in meaning, -1 for a missing value; and that list."""
    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind == "string":  # by Arrow: pandas takes texts for equal that differ only after a NUL
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError):
            texts = pa.array(values, type=pa.large_string(), from_pandas=True)
            encoded = (texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts).dictionary_encode()
            return encoded.indices.fill_null(-1).to_numpy(), encoded.dictionary.to_pylist()
    if kind in _EQUAL_MEANS_SAME:
        position, different = pd.factorize(values)
        return position, different.tolist()
    return np.arange(len(values)), values.tolist()


def laid_out(meanings: list[Any], position: np.ndarray) -> pd.Series:
    """The meaning at every position, None at -1."""
    return pd.Series(np.array([*meanings, None], dtype=object)[position], dtype=object)
