"""One spelling for one code: 1, 1.0, True of different file formats mean the same."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import pandas as pd

_ONE_SPELLING_PER_VALUE = {"string", "integer", "floating", "mixed-integer-float", "boolean", "empty"}


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
    """`code` of every value, with a fresh index; each different value is spelt once."""
    if pd.api.types.infer_dtype(values, skipna=True) not in _ONE_SPELLING_PER_VALUE:
        return pd.Series([code(value) for value in values.tolist()], dtype=object)
    position, different = pd.factorize(values)
    spelt = np.array([*(code(value) for value in different.tolist()), None], dtype=object)
    return pd.Series(spelt[position], dtype=object)
