"""Objects in a directory of this machine: renamed into place when complete, with the digest of their bytes on file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.foundation.files import publish_directory, write_atomic, write_new
from clinical_assets.foundation.objects.errors import NotStored, ObjectDamaged, ObjectMissing, ObjectStoreError
from clinical_assets.foundation.objects.interface import Fill, checked, own_digest


@dataclass(frozen=True)
class LocalObjects:
    """`<directory>/<address>/…` for objects, `<directory>/digests/<address>` for what their bytes must be."""

    directory: Path

    def fetch(self, address: str) -> Path:
        path = self._path(address)
        if not path.is_dir():
            raise ObjectMissing(f"{address} is not in the object store {self.directory}; make it again")
        expected, found = self._expected(address, path), sha256_directory(path)
        if found != expected:
            raise ObjectDamaged(
                f"{path} is damaged: its files have digest {found}, {expected} was stored; "
                "delete the directory and make it again"
            )
        return path

    def holds(self, address: str) -> bool:
        return self._path(address).is_dir()

    def publish(self, address: str, fill: Fill, locked: bool = False) -> Path:
        path = self._path(address)
        if path.is_dir():
            return path
        with writing(path):
            publish_directory(path, fill)
            if not own_digest(address):
                digest = self._digest(address)
                digest.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(digest, sha256_directory(path).encode())
        return path

    def lock(self, address: str) -> str:
        return "not locked: this is a directory; only a bucket with object lock keeps evidence from being deleted"

    def read(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)

    def write_new(self, name: str, data: bytes) -> bytes:
        path = self._path(name)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            return data if write_new(path, data) else path.read_bytes()

    def file(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise ObjectMissing(f"{name} is not in the object store {self.directory}")
        return path

    def drop(self, address: str) -> None:
        """Forget a copy; only a cache may do that."""
        self._digest(address).unlink(missing_ok=True)
        shutil.rmtree(self._path(address), ignore_errors=True)

    def _expected(self, address: str, path: Path) -> str:
        """What is on file; an object without entry (of an older version, or a writer that died) gets one now."""
        if promised := own_digest(address):
            return promised
        digest = self._digest(address)
        try:
            return digest.read_text()
        except FileNotFoundError:
            with suppress(OSError):  # a store that is mounted read-only
                digest.parent.mkdir(parents=True, exist_ok=True)
                write_new(digest, sha256_directory(path).encode())
            return sha256_directory(path)

    def _digest(self, address: str) -> Path:
        return self.directory / "digests" / checked(address)

    def _path(self, address: str) -> Path:
        return self.directory / checked(address)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """
    Raises:
        NotStored: the operating system does not take what is written.
    """
    try:
        yield
    except ObjectStoreError:
        raise
    except OSError as error:
        raise NotStored(
            f"{path} cannot be written ({error.strerror or error}); nothing was stored. "
            "Free some space or fix the permissions of the state directory, and run the same again"
        ) from error
