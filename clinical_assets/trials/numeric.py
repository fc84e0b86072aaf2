"""Numbers out of whatever a source holds."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from clinical_assets.trials.codes import distinct


def numbers(values: pd.Series, spellings: Mapping[str, float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(n,) float64 with NaN where a value is missing or no finite number, and (n,) bool: present, but no number.

    The double nearest to the digits of a text, read as Python reads it: the same everywhere. `spellings` adds words,
    in lower case. Storage as numbers is taken as it is, infinities included.
    """
    if pd.api.types.is_numeric_dtype(values):
        found = values.to_numpy(dtype=np.float64, na_value=np.nan)
        return found, np.zeros(len(found), dtype=bool)
    present = values.notna().to_numpy(bool)
    found = np.full(len(values), np.nan)
    found[present] = _parsed(values[present], spellings or {})
    found[~np.isfinite(found)] = np.nan
    return found, present & np.isnan(found)


def _parsed(values: pd.Series, spellings: Mapping[str, float]) -> np.ndarray:
    with contextlib.suppress(pa.ArrowInvalid, TypeError, ValueError, OverflowError):
        if isinstance(values.dtype, pd.StringDtype):
            return pa.array(values).cast(pa.float64()).to_numpy()
        return values.to_numpy(dtype=object).astype(np.float64)
    position, different = distinct(values)
    return np.array([_number(value, spellings) for value in different], dtype=np.float64)[position]


def _number(value: object, spellings: Mapping[str, float]) -> float:
    try:
        return float(spellings.get(value.strip().lower(), value) if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return math.nan
