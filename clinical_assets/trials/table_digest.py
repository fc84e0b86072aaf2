"""Digest of a table by its values: independent of pandas, of Parquet writers, of integer or float storage."""

from __future__ import annotations

import hashlib
import struct
from numbers import Real

import numpy as np
import pandas as pd

from clinical_assets.foundation.canonical import canonical_json

_MISSING_NUMBER = struct.pack("<Q", 0x7FF8000000000000)


def table_sha256(frame: pd.DataFrame) -> str:
    """SHA-256 over shape, column names in order, and per column its kind and its values in row order.

    Numbers and booleans are hashed as little-endian IEEE doubles (one NaN, no negative zero), dates as microseconds
    since the epoch, text as length-prefixed UTF-8 with -1 for a missing value.
    """
    digest = hashlib.sha256(canonical_json({"rows": len(frame), "columns": [str(name) for name in frame.columns]}))
    for name in frame.columns:
        kind, data = _column_bytes(pd.Series(frame[name]))
        digest.update(canonical_json([kind, len(data)]))
        digest.update(data)
    return digest.hexdigest()


def _column_bytes(column: pd.Series) -> tuple[str, bytes]:
    if pd.api.types.is_datetime64_any_dtype(column):
        return "timestamp", column.to_numpy("datetime64[us]").astype("<i8").tobytes()
    if not pd.api.types.is_numeric_dtype(column):
        values = column.tolist()
        present = [value for value in values if not _missing(value)]
        if not present or not all(isinstance(value, Real | np.bool_) for value in present):
            return "text", b"".join(_text_bytes(value) for value in values)
        column = pd.Series([np.nan if _missing(value) else float(value) for value in values], dtype=np.float64)
    numbers = column.to_numpy(dtype=np.float64, na_value=np.nan).astype("<f8") + 0.0
    data = bytearray(numbers.tobytes())
    for row in np.flatnonzero(np.isnan(numbers)):
        data[8 * row : 8 * row + 8] = _MISSING_NUMBER
    return "number", bytes(data)


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _text_bytes(value: object) -> bytes:
    if _missing(value):
        return struct.pack("<q", -1)
    text = str(value).encode()
    return struct.pack("<q", len(text)) + text
