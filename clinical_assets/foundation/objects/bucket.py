"""One bucket behind the S3 API: bytes with their digest, written once, patient with a server that is away.

Credentials, region and endpoint come from the environment alone (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …, or the
role of the machine), as boto3 reads them.
"""

from __future__ import annotations

import base64
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as NoConnection
from urllib3.exceptions import HTTPError

from clinical_assets.foundation.canonical import sha256_file
from clinical_assets.foundation.objects.errors import (
    ObjectDamaged,
    ObjectStoreError,
    StoreRefused,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from botocore.client import BaseClient

Answer = TypeVar("Answer")
CONNECT_S, ANSWER_S = 5, 60
"""Seconds to wait for a connection, and for each piece of an answer."""
LARGEST = 5 * 1024**3
"""Bytes that the S3 API takes in one conditional request."""
BUSY = frozenset(
    ("InternalError", "ServiceUnavailable", "SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "503")
)
logger = logging.getLogger(__name__)


@dataclass
class Bucket:
    """Keys below `prefix`. `patience_s`: how long a call waits for a server that does not answer, or is busy."""

    name: str
    prefix: str
    client: BaseClient
    patience_s: float
    conditional: bool = field(default=True, init=False)
    """Whether the server knows If-None-Match; without it a look before the write has to do."""

    @property
    def url(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    def get(self, key: str, target: IO[bytes]) -> bool:
        """Write the content of `key` to the open file `target`; False when there is none.

        Raises:
            ObjectDamaged: the bytes are not those that were stored.
        """

        def fetch() -> str | None:
            target.seek(0)
            target.truncate()
            try:
                found = self.client.get_object(**self._at(key))
            except ClientError as error:
                if _code(error) in ("NoSuchKey", "404"):
                    return None
                raise
            for piece in found["Body"].iter_chunks(1 << 20):
                target.write(piece)
            target.flush()
            return found["Metadata"].get("sha256", "")

        expected = self._patiently(f"read {key}", fetch)
        if expected is None:
            return False
        found = sha256_file(Path(target.name))
        if found != expected:
            raise ObjectDamaged(
                f"{self.url}/{key} is damaged: its bytes have digest {found}, {expected or 'no digest'} was stored; "
                "restore its earlier version in the bucket, or delete it and make it again"
            )
        return True

    def put(self, key: str, source: Path, new: bool, locked_until: datetime | None = None) -> bool:
        """Store a file. `new`: only where nothing lies under `key`; False when something does.

        Raises:
            ObjectStoreError: larger than one request may be.
        """
        if source.stat().st_size > LARGEST:
            raise ObjectStoreError(f"{key}: {source.stat().st_size} bytes; the store takes {LARGEST} in one object")
        digest = sha256_file(source)
        options: dict[str, Any] = {
            "Metadata": {"sha256": digest},
            "ChecksumSHA256": base64.b64encode(bytes.fromhex(digest)).decode(),
        }
        if locked_until is not None:
            options |= {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": locked_until}

        def store() -> bool:
            if new and not self.conditional and self._head(key) is not None:
                return False
            condition = {"IfNoneMatch": "*"} if new and self.conditional else {}
            try:
                with source.open("rb") as body:
                    self.client.put_object(**self._at(key), **options, **condition, Body=body)
            except ClientError as error:
                if _code(error) in ("PreconditionFailed", "412"):
                    return False
                if condition and _code(error) in ("ConditionalRequestConflict", "409"):
                    raise _Busy from error  # two writers at this very moment: one of them wins, then we are told
                if condition and _code(error) in ("NotImplemented", "501"):
                    logger.warning("%s does not know If-None-Match: a look before each write has to do", self.url)
                    self.conditional = False
                    return store()
                raise
            return True

        return self._patiently(f"write {key}", store)

    def head(self, key: str) -> dict[str, Any] | None:
        """What is known of `key`, None when there is nothing."""
        return self._patiently(f"look at {key}", lambda: self._head(key))

    def lock_problem(self) -> str:
        """Why objects cannot be locked here; "" where they can."""

        def ask() -> str:
            try:
                found = self.client.get_object_lock_configuration(Bucket=self.name)
            except ClientError as error:
                if _status(error) >= 500 and _code(error) != "NotImplemented":
                    raise
                return f"bucket {self.name} has no object lock ({_code(error)})"
            enabled = found.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"
            return "" if enabled else f"bucket {self.name} has no object lock"

        return self._patiently("ask for object lock", ask)

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            return self.client.head_object(**self._at(key))
        except ClientError as error:
            if _status(error) == 404:
                return None
            raise

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.name, "Key": f"{self.prefix}/{key}".lstrip("/")}

    def _patiently(self, what: str, act: Callable[[], Answer]) -> Answer:
        """Try until it works, the server says no, or patience ends.

        Raises:
            StoreRefused: credentials, rights, or no such bucket.
            StoreUnavailable: no answer for `patience_s` seconds.
        """
        deadline, wait, told = time.monotonic() + self.patience_s, 0.2, False
        while True:
            try:
                return act()
            except ClientError as error:
                if _status(error) < 500 and _code(error) not in BUSY:
                    raise self._refused(what, _code(error)) from error
                problem: Exception = error
            except (NoConnection, HTTPClientError, IncompleteReadError, HTTPError, _Busy) as error:
                problem = error
            except BotoCoreError as error:  # no credentials, a malformed endpoint: waiting does not help
                raise self._refused(what, f"{type(error).__name__}: {error}") from error
            said = _code(problem) if isinstance(problem, ClientError) else type(problem).__name__
            if time.monotonic() + wait > deadline:
                raise StoreUnavailable(
                    f"{self.url} at {self.client.meta.endpoint_url} does not answer ({said}; asked to {what}). Nothing "
                    "was half-written; start the server or correct AWS_ENDPOINT_URL, and the same work goes on where "
                    "it stopped. CLINICAL_OBJECTS_PATIENCE_S says how long to wait"
                ) from problem
            if not told:
                logger.warning(
                    "%s does not answer (%s); trying for up to %.0f s more", self.url, said, deadline - time.monotonic()
                )
                told = True
            time.sleep(wait * random.uniform(0.8, 1.2))
            wait = min(2 * wait, 5.0)

    def _refused(self, what: str, said: str) -> StoreRefused:
        return StoreRefused(
            f"{self.url} at {self.client.meta.endpoint_url} refuses to {what} ({said}). Nothing was half-written; "
            "check that the bucket exists and that the AWS_… credentials of the environment may read and write there"
        )


class _Busy(Exception):
    """Another writer is at the same key now."""


def locked_for(years: float) -> datetime:
    """The moment until which an object written now is kept."""
    return datetime.fromtimestamp(time.time() + years * 365.25 * 86_400, UTC)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
