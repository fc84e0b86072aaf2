"""Keyed patient pseudonyms: the only patient identifier that leaves the cohort store.

HMAC-SHA-256 with a key that stays in the state directory, so that nobody without the key can test a guessed identifier.
After a rotation (`serving.pseudonym_rotation`) a cancer type whose rollout is open keeps the former key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from pathlib import Path

PSEUDONYM = re.compile(r"[0-9a-f]{32,64}")
KEY_FILE = "patient-pseudonym.key"
HELD = "patient-pseudonym.for.{cancer}.key"


class PseudonymKeyError(RuntimeError):
    """The key cannot be trusted; the message gives the remedy."""


class Pseudonymiser:
    """Makes the value of the `x-patient-id` header. One key per state directory, made on first use with mode 0600."""

    def __init__(self, keys: Path) -> None:
        """
        Args:
            keys: the key directory of the state directory.

        Raises:
            PseudonymKeyError: the key file can be read by others, or is damaged.
        """
        self._keys = keys
        self._read: dict[Path, tuple[tuple[int, int], bytes]] = {}
        _read_or_create(keys / KEY_FILE)

    def __call__(self, cancer: str, subject_id: str) -> str:
        """64 hexadecimal digits; the same person has unrelated pseudonyms in two cancer types."""
        return hmac.new(self._key(cancer), f"{cancer}\0{subject_id}".encode(), hashlib.sha256).hexdigest()

    def _key(self, cancer: str) -> bytes:
        """The key in force now: a rotation holds for the next patient, also in a process that runs on."""
        for path in (self._keys / HELD.format(cancer=cancer), self._keys / KEY_FILE):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            version = (found.st_ino, found.st_mtime_ns)
            if self._read.get(path, ((), b""))[0] != version:
                self._read[path] = version, _read_or_create(path)
            return self._read[path][1]
        return _read_or_create(self._keys / KEY_FILE)


def _read_or_create(path: Path) -> bytes:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)  # fails if another process was first, whose key then holds
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise PseudonymKeyError(f"{path} has mode {mode:o} and can be read by others; run `chmod 600 {path}`")
    key = path.read_bytes()
    if len(key) != 32:
        raise PseudonymKeyError(f"{path} holds {len(key)} bytes instead of 32; restore it from a backup")
    return key
