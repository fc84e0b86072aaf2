"""Reading a bundle that a stranger sent: plain files of modest size under plain names, or nothing at all."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MEGABYTE = 1024 * 1024
MOST_FILES, MOST_BYTES, LARGEST_FILE, LARGEST_JSON = 500, 64 * MEGABYTE, 16 * MEGABYTE, 16 * MEGABYTE
DEEPEST_JSON = 60
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*(/[A-Za-z0-9][A-Za-z0-9._@-]*){0,2}")
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


class Refused(ValueError):
    """The bundle was not read: it is of a kind that a bundle of the platform never is."""


def read_bundle(path: Path) -> dict[str, bytes]:
    """Every file of a folder or zip by its name. Nothing is unpacked to disk and nothing is executed.

    Raises:
        FileNotFoundError: nothing is there.
        Refused: links, devices, names that lead outside, equal names, too many files or too many bytes, a damaged zip.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such bundle; give the folder or the .zip")
    files = _folder(path) if path.is_dir() else _zip(path)
    folded = [name.casefold() for name in files]
    if len(set(folded)) != len(folded):
        raise Refused(f"{path}: two names differ only in capital letters")
    return files


def _folder(root: Path) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    left = MOST_BYTES
    for folder, _, names in _walk(root):
        for name in names:
            path = folder / name
            relative = _checked_name(path.relative_to(root).as_posix(), root)
            _check_count(len(files) + 1, root)
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                if not stat.S_ISREG(os.fstat(handle).st_mode):
                    raise Refused(f"{root}: {relative} is not a plain file")
                files[relative] = _read(file, relative, left, root)
            left -= len(files[relative])
    return files


def _walk(root: Path) -> Iterable[tuple[Path, list[str], list[str]]]:
    for folder, below, names in os.walk(root, followlinks=False):
        for name in (*below, *names):
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise Refused(f"{root}: {name!r} is a link, a pipe or a device")
        yield Path(folder), below, names


def _zip(path: Path) -> dict[str, bytes]:
    if not path.is_file() or path.stat().st_size > MOST_BYTES + MEGABYTE:
        raise Refused(f"{path}: not a file of a bundle's size (at most {MOST_BYTES // MEGABYTE} MB)")
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            return _entries(archive, path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, RuntimeError, UnicodeDecodeError) as error:
        raise Refused(f"{path}: not an intact zip ({error})") from error


def _entries(archive: zipfile.ZipFile, path: Path) -> dict[str, bytes]:
    entries = archive.infolist()
    _check_count(len(entries), path)
    files: dict[str, bytes] = {}
    left = MOST_BYTES
    for entry in entries:
        name = _checked_name(entry.orig_filename, path)
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or entry.flag_bits & 0x1:
            raise Refused(f"{path}: {name} is a link, a device or encrypted")
        if name in files:
            raise Refused(f"{path}: {name} is in it twice")
        if entry.file_size > 0 and entry.compress_size * 1000 < entry.file_size:
            raise Refused(f"{path}: {name} unpacks to more than a thousand times its size")
        with archive.open(entry) as file:
            files[name] = _read(file, name, left, path)
        left -= len(files[name])
    return files


def _read(file: Any, name: str, left: int, source: Path) -> bytes:
    """At most what is allowed, whatever the file claims about its size."""
    allowed = min(LARGEST_FILE, left)
    data = file.read(allowed + 1)
    if len(data) > allowed:
        raise Refused(f"{source}: {name} is larger than a file of a bundle may be, or all files together are")
    return data


def _check_count(count: int, source: Path) -> None:
    if count > MOST_FILES:
        raise Refused(f"{source}: more than {MOST_FILES} files")


def _checked_name(name: str, source: Path) -> str:
    if not _NAME.fullmatch(name) or ".." in name or any(_DEVICES.fullmatch(part) for part in name.split("/")):
        raise Refused(f"{source}: {name[:80]!r} is not the name of a file of a bundle")
    return name


def read_json(data: bytes, name: str) -> Any:
    """
    Raises:
        Refused: no JSON, too large, nested too deep, a key twice, or a number that is not finite.
    """
    if len(data) > LARGEST_JSON:
        raise Refused(f"{name}: larger than {LARGEST_JSON // MEGABYTE} MB")
    if _depth(data) > DEEPEST_JSON:
        raise Refused(f"{name}: nested deeper than {DEEPEST_JSON} levels")
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"{name}: {error}") from error


def _depth(data: bytes) -> int:
    """An upper bound: brackets inside texts count too, and a bundle's texts hold few."""
    deepest = depth = 0
    for byte in re.sub(rb'"(?:[^"\\]|\\.)*"', b"", data):
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
