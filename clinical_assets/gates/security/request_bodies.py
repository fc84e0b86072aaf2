"""Inference requests (Open Inference Protocol v2) that a server must refuse, derived from one that it must answer."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.trials.column import Column
from clinical_assets.trials.contract import CohortContract

UNIT_FACTORS = (10.0, 100.0, 1000.0, 18.02, 88.4, 17.1, 2.205, 2.54, 30.44, 365.25)
"""Confusions of units: powers of ten, glucose, creatinine, bilirubin, pounds, inches, months, years."""

MOST_FEATURES = 60
"""Wider models are probed on this many features, evenly taken, so that the work stays linear in the width."""

_BEYOND_FLOAT = "<beyond float>"
_FOREIGN_COLUMNS = ("subject_id", "time", "event", "label", "unexpected")


@dataclass(frozen=True)
class BadRequest:
    """`fault` says what is wrong with it, `column` where (empty: the request as a whole)."""

    fault: str
    column: str
    body: bytes


def typical_row(contract: CohortContract, frame: pd.DataFrame) -> dict[str, Any]:
    """A patient that does not exist: median or most frequent value of each feature, inside its plausible range."""
    row: dict[str, Any] = {}
    for column in contract.features:
        seen = frame[column.name].dropna()
        if column.dtype == "category":
            row[column.name] = str(seen.mode().iloc[0]) if len(seen) else (column.categories or ("",))[0]
            continue
        low, high = column.plausible_range or (0.0, 1.0)
        value = float(np.clip(np.median(seen.astype(float)) if len(seen) else (low + high) / 2, low, high))
        row[column.name] = value if column.dtype == "number" else float(math.floor(value + 0.5))
    return row


def body(contract: CohortContract, row: Mapping[str, Any], **changes: Any) -> bytes:
    """The request for one row; `changes` replace values by column name."""
    return _encode({"inputs": _tensors(contract, {**row, **changes})})


def bad_requests(contract: CohortContract, row: Mapping[str, Any]) -> Iterator[BadRequest]:
    """Every request here lies outside the contract or the protocol."""
    for column in probed(contract):
        for fault, value in _bad_values(column, row[column.name]):
            yield BadRequest(fault, column.name, body(contract, row, **{column.name: value}))
        tensors = _tensors(contract, row)
        without = [tensor for tensor in tensors if tensor["name"] != column.name]
        own = next(tensor for tensor in tensors if tensor["name"] == column.name)
        yield BadRequest("column missing", column.name, _encode({"inputs": without}))
        yield BadRequest("column twice", column.name, _encode({"inputs": [*tensors, own]}))
        other = "FP64" if column.dtype == "category" else "BYTES"
        yield BadRequest("wrong datatype", column.name, _encode({"inputs": [*without, {**own, "datatype": other}]}))
        yield BadRequest("wrong shape", column.name, _encode({"inputs": [*without, {**own, "shape": [2]}]}))
        if without:
            longer = {**own, "shape": [2], "data": own["data"] * 2}
            yield BadRequest("more rows than others", column.name, _encode({"inputs": [*without, longer]}))
    yield from _bad_as_a_whole(contract, row)


def out_of_distribution(contract: CohortContract, row: Mapping[str, Any]) -> Iterator[BadRequest]:
    """One request for each end of each plausible range, just beyond it."""
    for column in probed(contract):
        if column.measured and column.plausible_range is not None:
            for value in _beyond(column.plausible_range):
                yield BadRequest("outside the plausible range", column.name,
                                 body(contract, row, **{column.name: value}))  # fmt: skip


def mutated(original: bytes, seed: int, count: int) -> Iterator[bytes]:
    """Copies of a valid request with one to four bytes changed, removed or doubled."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(original)
        for _ in range(int(rng.integers(1, 5))):
            at, kind = int(rng.integers(len(data))), int(rng.integers(3))
            data[at : at + 1] = (bytes([int(rng.integers(256))]), b"", bytes(data[at : at + 1]) * 2)[kind]
        yield bytes(data)


def probed(contract: CohortContract) -> tuple[Column, ...]:
    """The features that are probed one by one."""
    features = contract.features
    if len(features) <= MOST_FEATURES:
        return features
    return tuple(features[index] for index in np.linspace(0, len(features) - 1, MOST_FEATURES).astype(int))


def _bad_values(column: Column, value: Any) -> Iterator[tuple[str, Any]]:
    yield "a list as value", [value]
    yield "an object as value", {"value": value}
    if column.max_missing == 0:
        yield "missing where required", None
    if column.dtype == "category":
        yield "a number for a category", 1
        yield "true for a category", True
        yield "unknown category", f"{value} or not"
        yield "empty text", ""
        yield "long text", "x" * 10_000
        return
    yield "NaN", math.nan
    yield "Infinity", math.inf
    yield "-Infinity", -math.inf
    yield "a number beyond float", _BEYOND_FLOAT
    yield "text for a number", str(value)
    yield "huge number", 1e308
    if column.dtype == "boolean":
        yield "a number for a boolean", 2
        return
    yield "true for a number", True
    if column.dtype == "integer":
        yield "a fraction for a whole number", value + 0.5
    if column.plausible_range is not None:
        low, high = column.plausible_range
        for beyond in _beyond(column.plausible_range):
            yield "outside the plausible range", beyond
        for factor in UNIT_FACTORS:
            for converted in (value * factor, value / factor):
                if not low <= converted <= high:
                    yield "wrong unit", converted


def _beyond(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    margin = max(0.01 * (high - low), 1.0)
    return math.floor(low - margin), math.ceil(high + margin)


def _bad_as_a_whole(contract: CohortContract, row: Mapping[str, Any]) -> Iterator[BadRequest]:
    tensors = _tensors(contract, row)
    for name in _FOREIGN_COLUMNS:
        if name not in row:
            extra = {"name": name, "shape": [1], "datatype": "FP64", "data": [1.0]}
            yield BadRequest("column that is not in the contract", name, _encode({"inputs": [*tensors, extra]}))
    whole: dict[str, bytes] = {
        "empty body": b"",
        "no JSON": b"risk?",
        "not UTF-8": b"\xff\xfe" + _encode({"inputs": tensors}),
        "cut off": _encode({"inputs": tensors})[:-5],
        "nested without end": b'{"inputs":' + b"[" * 100_000,
        "a list": _encode([]),
        "null": b"null",
        "no inputs": _encode({"inputs": []}),
        "inputs as object": _encode({"inputs": {}}),
        "inputs of texts": _encode({"inputs": ["age", "sex"]}),
        "no rows": _encode({"inputs": [{**tensor, "shape": [0], "data": []} for tensor in tensors]}),
        "too many rows": _encode(
            {"inputs": [{**tensor, "shape": [5000], "data": tensor["data"] * 5000} for tensor in tensors]}
        ),
        "names that are no text": _encode({"inputs": [{**tensor, "name": 7} for tensor in tensors]}),
    }
    yield from (BadRequest(fault, "", data) for fault, data in whole.items())


def _tensors(contract: CohortContract, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": column.name,
            "shape": [1],
            "datatype": "BYTES" if column.dtype == "category" else "FP64",
            "data": [row[column.name]],
        }
        for column in contract.features
    ]


def _encode(request: Any) -> bytes:
    """As a careless client would: NaN and infinities as JavaScript writes them, and a number too large for a float."""
    return json.dumps(request).replace(f'"{_BEYOND_FLOAT}"', "1e999").encode()
