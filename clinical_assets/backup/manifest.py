"""What a backup holds: written last, so that a folder without it is no backup; every file with its digest."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, ValidationError

MANIFEST = "manifest.json"
FORMAT = 1
BLOCK = 1 << 20


class BackupError(RuntimeError):
    """Nothing was backed up, or nothing was restored; the message names the file and the remedy."""


class Stored(BaseModel):
    """`modified_ns`: since the epoch; 0 when unknown. Which of a person's public keys is the newest hangs on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sha256: str
    size: int
    modified_ns: int = 0


class Manifest(BaseModel):
    """`database`: "sqlite" (the file) or "postgresql" (rows of each table). `files`: by path in the backup.

    `parts`: what lies in which folder. `left_out`: what was asked to stay, or cannot be reached from here, and why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: int = FORMAT
    created_utc: str
    version: str
    schema_revision: str
    database: str
    home: str
    parts: dict[str, str]
    left_out: dict[str, str]
    files: dict[str, Stored]

    def below(self, part: str) -> dict[str, Stored]:
        """Files of one part, by path."""
        return {path: file for path, file in self.files.items() if path.split("/", 1)[0] == part}


class Folder:
    """A backup's folder: a local path or any URL that fsspec knows, e.g. `s3://bucket/backups/monday`."""

    def __init__(self, address: str) -> None:
        from fsspec.core import url_to_fs

        self.address = address
        self.files, self.root = url_to_fs(address)
        self.root = self.root.rstrip("/")

    @property
    def local(self) -> bool:
        return "file" in (self.files.protocol if isinstance(self.files.protocol, tuple) else (self.files.protocol,))

    def exists(self) -> bool:
        return self.files.exists(self.root) and bool(self.files.ls(self.root))

    def write(self, path: str, source: BinaryIO, done: Callable[[int], None]) -> Stored:
        """Copy `source` to `path` in the folder; the digest is that of the bytes that were written."""
        whole = f"{self.root}/{path}"
        self.files.makedirs(whole.rsplit("/", 1)[0], exist_ok=True)
        with self.files.open(whole, "wb") as target:
            return copied(source, target, done)

    def manifest(self) -> Manifest:
        """
        Raises:
            BackupError: not a complete backup, or one of another format.
        """
        try:
            content: Any = json.loads(self.files.cat_file(f"{self.root}/{MANIFEST}"))
        except FileNotFoundError as error:
            raise BackupError(
                f"{self.address} is no complete backup: it has no {MANIFEST}, which is written last; use another one"
            ) from error
        except ValueError as error:
            raise BackupError(f"{self.address}/{MANIFEST} is damaged: {error}; use another backup") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise BackupError(
                f"{self.address} has another format than {FORMAT}; restore it with the version that made it"
            )
        try:
            return Manifest.model_validate(content)
        except ValidationError as error:
            raise BackupError(f"{self.address}/{MANIFEST} is damaged: {error}; use another backup") from error

    def fetch(self, path: str, expected: Stored, target: Path, done: Callable[[int], None]) -> None:
        """Copy one file out of the backup.

        Raises:
            BackupError: it is missing, or its bytes are not those that were backed up.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.files.open(f"{self.root}/{path}", "rb") as source, target.open("wb") as out:
                found = copied(source, out, done)
                out.flush()
                os.fsync(out.fileno())
        except FileNotFoundError as error:
            raise BackupError(f"{self.address}: {path} is missing; nothing was restored, use another backup") from error
        if (found.sha256, found.size) != (expected.sha256, expected.size):
            raise BackupError(
                f"{self.address}: {path} is not what was backed up ({found.size} bytes, digest {found.sha256[:12]}; "
                f"expected {expected.size}, {expected.sha256[:12]}); nothing was restored, use another backup"
            )
        if expected.modified_ns:
            os.utime(target, ns=(expected.modified_ns, expected.modified_ns))


def copied(source: BinaryIO, target: Any, done: Callable[[int], None]) -> Stored:
    digest, size = sha256(), 0
    while block := source.read(BLOCK):
        target.write(block)
        digest.update(block)
        size += len(block)
        done(len(block))
    return Stored(sha256=digest.hexdigest(), size=size)
