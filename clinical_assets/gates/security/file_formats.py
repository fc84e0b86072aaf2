"""Whether a file is what its name says: data in an allowed format, with nothing executable inside."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

EXECUTABLE_MEMBERS = (".pkl", ".pickle", ".joblib", ".dill", ".py", ".pyc", ".so", ".pth", ".pt", ".npz")
MAX_HEADER = 100_000_000


def model_files(directory: Path) -> list[Path]:
    """Every file below `directory`, links and special files included."""
    return sorted(path for path in directory.rglob("*") if not path.is_dir() or path.is_symlink())


def format_problem(path: Path, allowed: Sequence[str]) -> str | None:
    """Why the file may not be part of a model, or None.

    Args:
        allowed: suffixes with the leading dot. A type without a content test here is refused, whatever `allowed` says.
    """
    if path.is_symlink() or not path.is_file():
        return "is not a regular file"
    suffix = path.suffix.lower()
    if suffix not in allowed or suffix not in _CONTENT:
        return f"type {suffix or 'without suffix'} is not on the allow-list"
    try:
        return _CONTENT[suffix](path)
    except (ValueError, OSError, struct.error, zipfile.BadZipFile) as error:
        return f"is not valid {suffix[1:]} ({type(error).__name__})"


def _json(path: Path) -> str | None:
    json.loads(path.read_bytes())
    return None


def _ubjson(path: Path) -> str | None:
    """XGBoost's UBJSON is one object: an opening brace, then a typed key length."""
    head = path.read_bytes()[:2]
    return None if len(head) == 2 and head[:1] == b"{" and head[1:] in b"iUIlL" else "is not a UBJSON object"


def _safetensors(path: Path) -> str | None:
    """Eight bytes of header length, a JSON header, raw tensors that fill the rest exactly."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER, len(data) - 8):
        return "is not valid safetensors (header longer than the file)"
    header = json.loads(data[8 : 8 + length])
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return (
        None if max(ends, default=0) == len(data) - 8 - length else "is not valid safetensors (bytes after the tensors)"
    )


def _skops(path: Path) -> str | None:
    """A zip of schema.json and .npy arrays. Which types the schema may name is checked when the model is loaded."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        bad = [name for name in names if name.lower().endswith(EXECUTABLE_MEMBERS)]
        if bad:
            return f"holds {', '.join(bad[:3])}"
        if "schema.json" not in names:
            return "is not a skops archive (no schema.json)"
        json.loads(archive.read("schema.json"))
        for name in (name for name in names if name.lower().endswith(".npy")):
            with archive.open(name) as member:
                if b"'descr': '|O'" in member.read(256):
                    return f"{name} holds pickled objects"
    return None


def _onnx(path: Path) -> str | None:
    """A protobuf ModelProto starts with field 1, ir_version, as a varint."""
    head = path.read_bytes()[:2]
    return None if len(head) == 2 and head[0] == 0x08 and 0 < head[1] < 0x80 else "is not an ONNX model"


_CONTENT: dict[str, Callable[[Path], str | None]] = {
    ".json": _json,
    ".ubj": _ubjson,
    ".safetensors": _safetensors,
    ".skops": _skops,
    ".onnx": _onnx,
}
