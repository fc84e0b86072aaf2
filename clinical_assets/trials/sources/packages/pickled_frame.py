"""A DataFrame out of the inert records of its pickle, whether pandas 1.x or 2.x wrote it. No code of pandas' pickle
protocol runs: numbers come from the raw bytes, columns from the block manager's own description.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.trials.sources.packages.inert_pickle import Inert

ALLOWED = frozenset(
    {
        ("pandas.core.frame", "DataFrame"),
        ("pandas.core.internals.managers", "BlockManager"),
        ("pandas._libs.internals", "_unpickle_block"),
        ("pandas.core.indexes.base", "Index"),
        ("pandas.core.indexes.base", "_new_Index"),
        ("pandas.core.indexes.numeric", "Int64Index"),
        ("pandas.core.indexes.range", "RangeIndex"),
        ("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked"),
        ("pandas.core.arrays.boolean", "BooleanArray"),
        ("pandas.core.arrays.boolean", "BooleanDtype"),
        ("pandas.core.arrays.categorical", "Categorical"),
        ("pandas.core.arrays.integer", "Int32Dtype"),
        ("pandas.core.arrays.integer", "IntegerArray"),
        ("pandas.core.arrays.sparse.array", "SparseArray"),
        ("pandas.core.arrays.sparse.dtype", "SparseDtype"),
        ("pandas._libs.sparse", "IntIndex"),
        ("pandas.core.arrays.string_", "StringArray"),
        ("pandas.core.arrays.string_", "StringDtype"),
        ("pandas.core.dtypes.dtypes", "CategoricalDtype"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy.core.numeric", "_frombuffer"),
        ("builtins", "slice"),
        ("__builtin__", "slice"),
        ("_codecs", "encode"),
    }
)
"""What the pickle of a table may mention."""

_NUMBERS = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}


def table(record: Inert) -> pd.DataFrame:
    """The DataFrame that `record` describes; a named index becomes the first column, another one is left out.

    Raises:
        Exception: `record` is no DataFrame, or one of a kind not met in the packages (sparse columns, dates).
    """
    state = record.state
    manager = state["_mgr"] if "_mgr" in state else state["_data"]
    axes, blocks = _written_by_pandas_2(manager) if manager.arguments else _written_by_pandas_1(manager)
    names, rows = map(_index, axes)
    columns: list[Any] = [None] * len(names)
    for values, positions in blocks:
        block = _values(values)
        for position, column in zip(_places(positions, len(names)), block if block.ndim == 2 else [block], strict=True):
            columns[position] = column
    label = axes[1].arguments[1].get("name")
    frame = pd.DataFrame(dict(enumerate(columns))).set_axis(list(names), axis="columns")
    if len(frame) != len(rows):
        raise ValueError(f"columns of {len(frame)} rows under an index of {len(rows)}")
    if label is not None:
        frame.insert(0, label, rows)
    return frame


def _written_by_pandas_2(manager: Inert) -> tuple[list[Inert], list[tuple[Any, Any]]]:
    blocks, axes = manager.arguments
    return axes, [block.arguments[:2] for block in blocks]


def _written_by_pandas_1(manager: Inert) -> tuple[list[Inert], list[tuple[Any, Any]]]:
    described = manager.state[-1]["0.14.1"]
    return described["axes"], [(block["values"], block["mgr_locs"]) for block in described["blocks"]]


def _places(positions: Inert, columns: int) -> Iterator[int]:
    if type(positions).__name__ == "slice":
        yield from range(*slice(*positions.arguments).indices(columns))
    else:
        yield from _values(positions).tolist()


def _index(record: Inert) -> range | np.ndarray:
    kind, content = record.arguments
    if kind.__name__ == "RangeIndex":
        return range(content["start"], content["stop"], content["step"])
    return _values(content["data"])


def _values(record: Inert) -> np.ndarray:
    """The array that one record of numpy or pandas describes; None where a masked or categorical value is missing."""
    name = type(record).__name__
    if name == "_frombuffer":
        buffer, kind, shape, order = record.arguments
        return np.frombuffer(buffer, dtype=_dtype(kind)).reshape(shape, order=order)
    if name == "_reconstruct":
        _, shape, kind, by_column, content = record.state
        return _reconstructed(shape, kind, "F" if by_column else "C", content)
    if name in ("IntegerArray", "BooleanArray"):
        content = _values(record.state["_data"]).astype(object)
        content[_values(record.state["_mask"])] = None
        return content
    if name == "__pyx_unpickle_NDArrayBacked":
        kind, stored, _ = record.state
        if record.arguments[0].__name__ == "Categorical":
            return np.array([*_index(kind.state["categories"]), None], dtype=object)[_values(stored)]
        return _values(stored)
    raise ValueError(f"holds {name}, which is not read")


def _reconstructed(shape: tuple[int, ...], kind: Inert, order: Any, content: Any) -> np.ndarray:
    if isinstance(content, list):
        if kind.arguments[0] != "O8":
            raise ValueError("holds a list where numbers are announced")
        cells = np.empty(len(content), dtype=object)
        cells[:] = content
        return cells.reshape(shape, order=order)
    if isinstance(content, Inert):  # text that stands for bytes, as pickle protocol 2 writes them
        text, encoding = content.arguments
        if encoding != "latin1":
            raise ValueError(f"holds bytes written as {encoding}")
        content = text.encode("latin1")
    return np.frombuffer(content, dtype=_dtype(kind)).reshape(shape, order=order)


def _dtype(record: Inert) -> np.dtype:
    code, byte_order = record.arguments[0], record.state[1]
    if code not in _NUMBERS or byte_order not in ("<", ">", "|"):
        raise ValueError(f"holds numbers of type {code!r}, which are not read")
    return np.dtype(f"{byte_order}{code}")
