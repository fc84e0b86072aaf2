"""Digest of a table by its values: independent of pandas, of Parquet writers, of integer or float storage."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from numbers import Real

import numpy as np
import pandas as pd
import pyarrow as pa

from clinical_assets.foundation.canonical import canonical_json

_MISSING_NUMBER = np.uint64(0x7FF8000000000000)
_NUMBERS = {"boolean", "floating", "integer", "mixed-integer-float"}
_ROWS = 1 << 18
"""Rows whose text is laid out at once: bounds the memory, does not change the digest."""


def table_sha256(frame: pd.DataFrame) -> str:
    """SHA-256 over shape, column names in order, and per column its kind and its values in row order.

    Numbers and booleans are hashed as little-endian IEEE doubles (one NaN, no negative zero), dates as microseconds
    since the epoch, text as length-prefixed UTF-8 with -1 for a missing value.
    """
    digest = hashlib.sha256(canonical_json({"rows": len(frame), "columns": [str(name) for name in frame.columns]}))
    for _, column in frame.items():
        kind, size, data = _column_bytes(column)
        digest.update(canonical_json([kind, size]))
        for part in data:
            digest.update(part.data)
    return digest.hexdigest()


def _column_bytes(column: pd.Series) -> tuple[str, int, Iterator[np.ndarray]]:
    """Kind, length in bytes, and the bytes themselves in parts."""
    if pd.api.types.is_datetime64_any_dtype(column):
        moments = column.to_numpy("datetime64[us]").astype("<i8")
        return "timestamp", moments.nbytes, iter((moments,))
    if pd.api.types.is_numeric_dtype(column):
        return _number_bytes(column.to_numpy(dtype=np.float64, na_value=np.nan))
    cells = column.astype(object) if column.dtype == "category" else column
    inferred = pd.api.types.infer_dtype(cells, skipna=True)
    if inferred in ("string", "empty"):
        with contextlib.suppress(pa.ArrowInvalid, pa.ArrowTypeError):  # a missing value of another type than text
            return _text_bytes(pa.array(cells, type=pa.large_string(), from_pandas=True))
    if inferred in _NUMBERS:
        present = cells.notna().to_numpy(bool)
        numbers = np.full(len(cells), np.nan)
        numbers[present] = cells.to_numpy(dtype=object)[present].astype(np.float64)
        return _number_bytes(numbers)
    return _mixed_bytes(cells.tolist())


def _mixed_bytes(values: list[object]) -> tuple[str, int, Iterator[np.ndarray]]:
    """Value by value: numbers if all are, else the text of each."""
    present = [value for value in values if not _missing(value)]
    if present and all(isinstance(value, Real | np.bool_) for value in present):
        numbers = [np.nan if _missing(value) else float(value) for value in values]  # type: ignore[arg-type]
        return _number_bytes(np.array(numbers, dtype=np.float64))
    texts = [None if _missing(value) else str(value) for value in values]
    return _text_bytes(pa.array(texts, type=pa.large_string()))


def _missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _number_bytes(values: np.ndarray) -> tuple[str, int, Iterator[np.ndarray]]:
    absent = np.isnan(values)
    numbers = (np.where(absent, 0.0, values) + 0.0).astype("<f8")
    numbers.view("<u8")[absent] = _MISSING_NUMBER
    return "number", numbers.nbytes, iter((numbers,))


def _text_bytes(column: pa.LargeStringArray | pa.ChunkedArray) -> tuple[str, int, Iterator[np.ndarray]]:
    """Each text with its length in front, laid out by array operations on Arrow's offsets and characters."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    present = whole.is_valid().to_numpy(zero_copy_only=False)
    filled = whole.fill_null("")
    _, starts, characters = filled.buffers()
    if not len(filled):
        return "text", 0, iter(())
    limits = np.frombuffer(starts, dtype=np.int64)[filled.offset : filled.offset + len(filled) + 1]
    letters = np.frombuffer(characters or b"", dtype=np.uint8)
    lengths = np.where(present, np.diff(limits), -1).astype("<i8")
    return "text", int(lengths.nbytes + limits[-1] - limits[0]), _interleaved(limits, lengths, letters)


def _interleaved(limits: np.ndarray, lengths: np.ndarray, letters: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(lengths), _ROWS):
        own = lengths[first : first + _ROWS]
        bounds = limits[first : first + len(own) + 1]
        places = (bounds[:-1] - bounds[0])[:, None] + np.arange(0, 8 * len(own), 8)[:, None] + np.arange(8)
        part = np.empty(own.nbytes + bounds[-1] - bounds[0], dtype=np.uint8)
        is_letter = np.ones(len(part), dtype=bool)
        is_letter[places] = False
        part[places] = own.view(np.uint8).reshape(-1, 8)
        part[is_letter] = letters[bounds[0] : bounds[-1]]
        yield part
