"""Every text, record and array that the files of a model hold, whatever nests them."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_TEXT = re.compile(rb"[\x20-\x7e]{4,}")
LARGEST_ARRAY = 50_000_000


@dataclass
class Stored:
    """`texts` by where they stand, `records` (objects of plain values) by their list, `arrays` by name."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    records: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def stored_values(files: Mapping[str, bytes]) -> Stored:
    """What the files hold. A file that is not of its kind gives its readable texts; SE1 says what is wrong with it."""
    stored = Stored()
    for name, data in files.items():
        try:
            _READERS.get(name[name.rfind(".") :].lower(), _any)(name, data, stored)
        except (ValueError, KeyError, OSError, RecursionError, zipfile.BadZipFile):
            _any(name, data, stored)
    return stored


def _json(name: str, data: bytes, stored: Stored) -> None:
    _walk(name, json.loads(data), stored)


def _walk(place: str, value: Any, stored: Stored) -> None:
    """Keys count as texts too: a mapping from patient to value names the patients."""
    if isinstance(value, str):
        stored.texts.setdefault(place, []).append(value)
    elif isinstance(value, dict):
        stored.texts.setdefault(place, []).extend(value)
        for key, item in value.items():
            _walk(f"{place}.{key}", item, stored)
        columns = {key: item for key, item in value.items() if _is_list_of_values(item)}
        for records in _as_records(columns):
            stored.records.setdefault(place, []).extend(records)
    elif isinstance(value, list):
        if value and all(isinstance(item, dict) for item in value):
            stored.records.setdefault(place, []).extend(_flat(item) for item in value)
        array = _array(value)
        if array is not None:
            stored.arrays[place] = array
        elif all(isinstance(item, str) for item in value):
            stored.texts.setdefault(place, []).extend(value)
        else:
            for item in value:
                _walk(f"{place}[]", item, stored)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a record, those of objects inside it included."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat |= _flat(value) if isinstance(value, dict) else {key: value}
    return flat


def _is_list_of_values(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 2 and not any(isinstance(item, list | dict) for item in value)


def _as_records(columns: Mapping[str, list[Any]]) -> Iterator[list[dict[str, Any]]]:
    """A table stored column by column, row by row; columns of one length belong together."""
    for length in {len(column) for column in columns.values()}:
        together = {name: column for name, column in columns.items() if len(column) == length}
        if len(together) > 1:
            yield [dict(zip(together, row, strict=True)) for row in zip(*together.values(), strict=True)]


def _array(value: list[Any]) -> np.ndarray | None:
    """Numbers, or lists of numbers of one length; None for anything else."""
    flat = value[0] if value and isinstance(value[0], list) else value
    if not flat or not all(item is None or (isinstance(item, int | float)) for item in flat):
        return None
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.ndim in (1, 2) else None


def _safetensors(name: str, data: bytes, stored: Stored) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(data)
    except (SafetensorError, TypeError) as error:
        raise ValueError(str(error)) from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    _walk(f"{name}.header", header.get("__metadata__", {}), stored)
    stored.texts.setdefault(name, []).extend(tensors)
    for key, tensor in tensors.items():
        _keep(f"{name}:{key}", tensor, stored)


def _skops(name: str, data: bytes, stored: Stored) -> None:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for member in archive.infolist():
            if member.file_size > LARGEST_ARRAY:
                raise ValueError(f"{member.filename} is too large")
            content = archive.read(member)
            if member.filename.endswith(".json"):
                _walk(f"{name}!{member.filename}", json.loads(content), stored)
            elif member.filename.endswith(".npy"):
                _keep(f"{name}!{member.filename}", np.load(io.BytesIO(content), allow_pickle=False), stored)
            else:
                _any(f"{name}!{member.filename}", content, stored)


def _any(name: str, data: bytes, stored: Stored) -> None:
    """Readable texts of a binary file."""
    stored.texts.setdefault(name, []).extend(text.decode() for text in _TEXT.findall(data))


def _keep(name: str, array: np.ndarray, stored: Stored) -> None:
    if array.dtype.kind in "fiub" and array.size <= LARGEST_ARRAY:
        stored.arrays[name] = np.asarray(array, dtype=np.float64)
    elif array.dtype.kind in "US":
        stored.texts.setdefault(name, []).extend(array.astype(str).ravel().tolist())


_READERS = {".json": _json, ".safetensors": _safetensors, ".skops": _skops}
