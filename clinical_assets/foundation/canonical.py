"""Canonical JSON and SHA-256: the identity of everything that is signed or compared."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Sorted keys, no whitespace, UTF-8, no NaN. Floats keep Python's shortest round-trip form.

    Raises:
        ValueError: the value holds NaN or an infinity.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    return sha256_bytes(canonical_json(value))


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_directory(path: Path) -> str:
    """Digest over the sorted (relative path, file digest) pairs: an added, removed, renamed or edited file changes it.

    Raises:
        ValueError: the directory holds a symbolic link, which could point outside it.
    """
    entries = []
    for item in sorted(path.rglob("*")):
        if item.is_symlink():
            raise ValueError(f"{item}: symbolic links are not allowed in a signed directory")
        if item.is_file():
            entries.append([item.relative_to(path).as_posix(), sha256_file(item)])
    return sha256_json(entries)
