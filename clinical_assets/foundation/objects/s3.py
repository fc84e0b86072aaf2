"""Objects in a bucket, each as one zip, with a cache of unpacked directories on this machine.

One zip is one request, so an object is there whole or not at all, is locked whole, and the first writer wins. What
lies in the cache has been stored; a copy that is damaged there is fetched again.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clinical_assets.foundation.canonical import sha256_directory
from clinical_assets.foundation.objects.archive import pack, unpack
from clinical_assets.foundation.objects.bucket import Bucket, locked_for
from clinical_assets.foundation.objects.errors import ObjectDamaged, ObjectMissing
from clinical_assets.foundation.objects.interface import Fill, checked, own_digest
from clinical_assets.foundation.objects.local import LocalObjects, writing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class S3Objects:
    """`<prefix>/<address>.zip` for objects; records under their own names."""

    bucket: Bucket
    cache: LocalObjects
    retention_years: float

    @property
    def directory(self) -> Path:
        return self.cache.directory

    def fetch(self, address: str) -> Path:
        try:
            return self.cache.fetch(address)
        except ObjectMissing:
            pass
        except ObjectDamaged as damage:
            logger.warning("%s; the copy is thrown away and fetched again", damage)
            self.cache.drop(address)
        with self._scratch() as scratch:
            archive = scratch / "archive.zip"
            with archive.open("w+b") as target:
                if not self.bucket.get(f"{checked(address)}.zip", target):
                    raise ObjectMissing(f"{address} is not in the object store {self.bucket.url}; make it again")
            return self._place(address, archive)

    def holds(self, address: str) -> bool:
        return self.bucket.head(f"{checked(address)}.zip") is not None

    def publish(self, address: str, fill: Fill, locked: bool = False) -> Path:
        if self.holds(address):
            return self.fetch(address)
        until = locked_for(self.retention_years) if locked and not self._no_lock() else None
        with self._scratch() as scratch:
            made, archive = scratch / "made", scratch / "archive.zip"
            made.mkdir()
            fill(made)
            pack(made, archive)
            if self.bucket.put(f"{checked(address)}.zip", archive, new=True, locked_until=until):
                self.cache.drop(address)  # of a store that has lost it since
                return self._place(address, archive)
        return self.fetch(address)

    def lock(self, address: str) -> str:
        if problem := self._no_lock():
            return f"not locked: {problem}"
        found = self.bucket.head(f"{checked(address)}.zip") or {}
        mode, until = found.get("ObjectLockMode"), found.get("ObjectLockRetainUntilDate")
        return f"{mode} until {until:%Y-%m-%d}" if mode and until else "not locked: it was written without a lock"

    def read(self, name: str) -> bytes | None:
        with self._scratch() as scratch, (scratch / "record").open("w+b") as target:
            found = self.bucket.get(checked(name), target)
            target.seek(0)
            return target.read() if found else None

    def write(self, name: str, data: bytes) -> None:
        self._put(name, data, new=False)

    def write_new(self, name: str, data: bytes) -> bytes:
        if self._put(name, data, new=True):
            return data
        return self.file(name).read_bytes()

    def file(self, name: str) -> Path:
        try:
            return self.cache.file(name)
        except ObjectMissing:
            found = self.read(name)
        if found is None:
            raise ObjectMissing(f"{name} is not in the object store {self.bucket.url}")
        self.cache.write_new(name, found)
        return self.cache.file(name)

    def _put(self, name: str, data: bytes, new: bool) -> bool:
        with self._scratch() as scratch:
            (scratch / "record").write_bytes(data)
            return self.bucket.put(checked(name), scratch / "record", new=new)

    def _no_lock(self) -> str:
        return "CLINICAL_EVIDENCE_RETENTION_YEARS is 0" if not self.retention_years else self.bucket.lock_problem()

    def _place(self, address: str, archive: Path) -> Path:
        """Unpack into the cache; the digest that an address promises is compared before anybody can see the copy."""

        def fill(aside: Path) -> None:
            try:
                unpack(archive, aside)
                found = sha256_directory(aside)
            except ValueError as error:
                raise ObjectDamaged(f"{self.bucket.url}/{address}.zip is damaged: {error}") from error
            if found != (own_digest(address) or found):
                raise ObjectDamaged(
                    f"{self.bucket.url}/{address}.zip is damaged: its files have digest {found}; "
                    "restore its earlier version in the bucket, or delete it and make it again"
                )

        return self.cache.publish(address, fill)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        """A directory on the cache's disk that is gone afterwards, also when that disk is full."""
        with writing(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".scratch-", dir=self.directory) as made:
                yield Path(made)
