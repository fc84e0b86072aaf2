"""Private keys in a backup: only when asked for, and only encrypted (scrypt, RFC 7914, and AES-256-GCM)."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from clinical_assets.backup.manifest import BackupError
from clinical_assets.foundation.files import write_new

FILE = "private-keys.aes"
_SALT, _NONCE = 16, 12


def sealed(keys: Path, passphrase: str) -> bytes:
    """Every private file of the key directory, the pseudonym key included."""
    if len(passphrase) < 12:
        raise BackupError("the passphrase that protects private keys in a backup needs 12 characters or more")
    held = {path.name: path.read_bytes().hex() for path in sorted(keys.glob("*.key"))}
    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    return salt + nonce + AESGCM(_key(passphrase, salt)).encrypt(nonce, json.dumps(held).encode(), FILE.encode())


def opened(content: bytes, passphrase: str) -> dict[str, bytes]:
    """
    Raises:
        BackupError: wrong passphrase, or changed content.
    """
    salt, nonce, rest = content[:_SALT], content[_SALT : _SALT + _NONCE], content[_SALT + _NONCE :]
    try:
        held = json.loads(AESGCM(_key(passphrase, salt)).decrypt(nonce, rest, FILE.encode()))
    except InvalidTag as error:
        raise BackupError("wrong passphrase for the private keys in the backup; nothing was restored") from error
    return {name: bytes.fromhex(value) for name, value in held.items()}


def put_back(held: dict[str, bytes], keys: Path) -> list[str]:
    """Write the private keys that are not there (mode 0600); returns names of those that are there and differ."""
    other = []
    for name, content in held.items():
        if not write_new(keys / name, content, mode=0o600) and (keys / name).read_bytes() != content:
            other.append(name)
    return other


def _key(passphrase: str, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**16, r=8, p=1).derive(passphrase.encode())
