"""One spelling for one code: 1, 1.0, True of different file formats mean the same."""

from __future__ import annotations

from numbers import Real

import numpy as np
import pandas as pd


def code(value: object) -> str | None:
    """Text of a code or identifier; None for a missing value. Text is kept, so that `007` stays `007`."""
    if isinstance(value, str):
        return value.strip()
    if pd.isna(value):  # type: ignore[call-overload]
        return None
    if isinstance(value, Real | np.bool_):
        number = float(value)
        return str(int(number)) if number.is_integer() else repr(number)
    return str(value)
