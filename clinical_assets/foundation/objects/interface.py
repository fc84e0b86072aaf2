"""The one interface of every store."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

Fill = Callable[[Path], object]
"""Writes the files of an object into an empty directory."""

_ADDRESS = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")


class Objects(Protocol):
    """Objects are directories, written once and verified on every read. Records are small files.

    An address is `<kind>/…/<digest>`; that of a model is the digest over its directory. Every method may raise
    `StoreUnavailable` or `StoreRefused` where the store is a server.
    """

    @property
    def directory(self) -> Path:
        """Where objects are opened: the store itself, or the cache before a server."""
        ...

    def fetch(self, address: str) -> Path:
        """The object's directory, its bytes verified just now.

        Raises:
            ObjectMissing: no such object.
            ObjectDamaged: the bytes are not those that were stored.
        """
        ...

    def holds(self, address: str) -> bool: ...

    def publish(self, address: str, fill: Fill, locked: bool = False) -> Path:
        """Store what `fill` writes, in one step; an object that exists is kept and returned.

        Args:
            locked: nobody may delete it before the retention has passed, where the store can promise that.

        Raises:
            NotStored: the disk does not take it.
        """
        ...

    def lock(self, address: str) -> str:
        """Until when the object cannot be deleted, or why nothing protects it, in words."""
        ...

    def read(self, name: str) -> bytes | None:
        """A record, None when there is none."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Set a record in one step."""
        ...

    def write_new(self, name: str, data: bytes) -> bytes:
        """Set a record that nobody may set again; returns what stands, which is the first writer's."""
        ...

    def file(self, name: str) -> Path:
        """A record written by `write_new`, as a file.

        Raises:
            ObjectMissing: no such record.
        """
        ...


def checked(address: str) -> str:
    """
    Raises:
        ValueError: no address, but for instance a way out of the store.
    """
    if not _ADDRESS.fullmatch(address):
        raise ValueError(f"not an object address: {address}")
    return address


def own_digest(address: str) -> str:
    """The digest over the directory that the address itself promises, "" where it promises none."""
    kind, _, rest = address.partition("/")
    return rest if kind == "models" else ""
