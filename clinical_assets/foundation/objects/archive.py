"""A directory as one file, so that it is stored, locked and fetched whole: a zip that depends on the content alone."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import IO


def pack(directory: Path, archive: Path) -> None:
    """Write the files below `directory`: in order of name, without times, owners or compression."""
    names = {item.relative_to(directory).as_posix(): item for item in directory.rglob("*") if item.is_file()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for name, item in sorted(names.items()):
            member = _member(name)
            member.file_size = item.stat().st_size
            with item.open("rb") as source, packed.open(member, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def pack_files(files: Mapping[str, bytes], target: IO[bytes]) -> None:
    """As `pack`, from memory: the same files give the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as packed:
        for name, data in sorted(files.items()):
            packed.writestr(_member(name), data)


def unpack(archive: Path, directory: Path) -> None:
    """
    Raises:
        ValueError: no such archive, or a name that leads out of the directory.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            for member in packed.infolist():
                name = PurePosixPath(member.filename)
                if name.is_absolute() or not name.parts or ".." in name.parts:
                    raise ValueError(f"the archive holds {member.filename!r}, which leads out of it")
                target = directory / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with packed.open(member) as source, target.open("xb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"not an archive ({error})") from error


def _member(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = 0o100644 << 16
    return member
