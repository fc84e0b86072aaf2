"""Ed25519 keys on disk: one private file per name (mode 0600), every public key ever used kept for verification.

A key's identity is a digest of its public bytes. The platform signs as `platform`; persons sign under their own names.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from clinical_assets.foundation.canonical import sha256_bytes
from clinical_assets.foundation.files import fsync_directory, write_atomic

PLATFORM = "platform"
_NAME = re.compile(r"[^\W_][\w@-]{0,63}")


class KeyPermissionError(PermissionError):
    """A private key, or the directory that holds it, is open to other users; the message gives the remedy."""


class UnknownKeyError(KeyError):
    """No key of this name or identity is in the key directory."""

    def __str__(self) -> str:
        return str(self.args[0])


class PassphraseError(KeyPermissionError):
    """A private key is protected by a passphrase, which is missing or wrong."""


@dataclass(frozen=True)
class KeyInfo:
    """A public key on file. `current`: it belongs to the private key of that name; `protected`: by a passphrase."""

    name: str
    key_id: str
    current: bool
    protected: bool


@dataclass(frozen=True)
class Signer:
    """Signs as `name`; the private key never leaves this object."""

    name: str
    key_id: str
    _private: Ed25519PrivateKey
    passphrase_given: bool = False

    def sign(self, data: bytes) -> str:
        """Hexadecimal Ed25519 signature (RFC 8032) of `data`."""
        return self._private.sign(data).hex()


def key_identity(public_bytes: bytes) -> str:
    """First 32 hexadecimal digits of the SHA-256 of the public key's bytes."""
    return sha256_bytes(public_bytes)[:32]


class KeyStore:
    """Keys below one directory: `<name>.key` (private), `<name>.<key id>.pub` (public, kept after rotation)."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def signer(self, name: str, create: bool = True, passphrase: str | None = None) -> Signer:
        """The signer called `name`; its key is made on first use, without passphrase.

        Raises:
            ValueError: a name that is not a plain file name.
            UnknownKeyError: no such key and `create` is false.
            PassphraseError: the key needs a passphrase, or another one.
            KeyPermissionError: the key file or directory is open to other users, or cannot be read.
        """
        path = self._path(name, "key")
        if not create and not path.exists():
            raise UnknownKeyError(f"{path}: no key named {name!r}; make one with `clinical keys new`, or copy it here")
        pem = self.private_bytes(path, new_ed25519)
        protected = is_protected(pem)
        if protected and not passphrase:
            raise PassphraseError(f"{path}: the key of {name} is protected; give its passphrase to sign")
        try:
            private = serialization.load_pem_private_key(pem, passphrase.encode() if protected and passphrase else None)
        except ValueError as error:
            if protected:
                raise PassphraseError(f"{path}: wrong passphrase for the key of {name}") from error
            raise ValueError(f"{path}: not a private key; move it away, a new one is made on next use") from error
        if not isinstance(private, Ed25519PrivateKey):
            raise TypeError(f"{path}: not an Ed25519 private key; move it away, a new one is made on next use")
        public = private.public_key()
        key_id = key_identity(public.public_bytes_raw())
        published = self._path(f"{name}.{key_id}", "pub")
        if not published.exists():
            write_atomic(published, _public_pem(public))
        return Signer(name, key_id, private, passphrase_given=protected)

    def create(self, name: str, passphrase: str | None = None, replace: bool = False) -> Signer:
        """Make a key. With `replace`, the present one is retired: its signatures stand, and it signs no more.

        Raises:
            ValueError: the name has a key and `replace` is false, or it is not a plain file name.
        """
        path = self._path(name, "key")
        self._secure_directory()
        if path.exists() and not replace:
            raise ValueError(f"{path}: {name} has a key already; replace it deliberately (`--replace`)")
        write_atomic(path, new_ed25519(passphrase), mode=0o600)
        return self.signer(name, create=False, passphrase=passphrase)

    def on_file(self) -> list[KeyInfo]:
        """Every public key, by name."""
        found = []
        for public in sorted(self.directory.glob("*.pub")):
            name, key_id = public.name.removesuffix(".pub").rsplit(".", 1)
            private = self._path(name, "key")
            current = private.exists() and self._newest(name) == public
            found.append(KeyInfo(name, key_id, current, current and is_protected(private.read_bytes())))
        return found

    def needs_passphrase(self, name: str) -> bool:
        path = self._path(name, "key")
        return path.exists() and is_protected(path.read_bytes())

    def current(self, name: str) -> str:
        """Identity of the key with which `name` signs now. Raises UnknownKeyError when there is none."""
        if not self._path(name, "key").exists():
            raise UnknownKeyError(f"{self.directory}: {name} has no private key here; see `clinical keys list`")
        return self._newest(name).name.removesuffix(".pub").rsplit(".", 1)[1]

    def _newest(self, name: str) -> Path:
        return max(self.directory.glob(f"{name}.*.pub"), key=lambda path: path.stat().st_mtime_ns)

    def discard(self, name: str) -> None:
        """Remove the private key of `name`, if there is one; what it signed can still be verified."""
        self._path(name, "key").unlink(missing_ok=True)

    def public_key(self, key_id: str) -> Ed25519PublicKey:
        """Raises UnknownKeyError when no public key of this identity is known."""
        return self._find(key_id)[1]

    def owner(self, key_id: str) -> str:
        """The name under which the key was made. Raises UnknownKeyError."""
        return self._find(key_id)[0]

    def verify(self, key_id: str, data: bytes, signature: str, name: str | None = None) -> bool:
        """True when `signature` is the key's signature of `data` and, where given, the key belongs to `name`."""
        try:
            owner, public = self._find(key_id)
            public.verify(bytes.fromhex(signature), data)
        except (UnknownKeyError, InvalidSignature, ValueError):
            return False
        return name is None or owner == name

    def private_bytes(self, path: Path, generate: Callable[[], bytes]) -> bytes:
        """Content of the private file `path`, generated on first use; of several creators exactly one wins.

        Raises:
            KeyPermissionError: see `signer`.
        """
        self._secure_directory()
        if not path.exists():
            self._create(path, generate())
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if mode & 0o077:
                raise KeyPermissionError(f"{path}: private key open to other users (mode {mode:04o}); chmod 600 {path}")
            return path.read_bytes()
        except KeyPermissionError:
            raise
        except PermissionError as error:
            raise KeyPermissionError(
                f"{path}: private key cannot be read by this user; chown {os.geteuid()} {path} && chmod 600 {path}"
            ) from error

    def _secure_directory(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        mode = stat.S_IMODE(self.directory.stat().st_mode)
        if not mode & 0o077:
            return
        if any(self.directory.glob("*.key")):
            raise KeyPermissionError(
                f"{self.directory}: key directory open to other users (mode {mode:04o}); chmod 700 {self.directory}"
            )
        self.directory.chmod(0o700)

    def _create(self, path: Path, data: bytes) -> None:
        aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(aside, path)
            except FileExistsError:
                return
        finally:
            aside.unlink(missing_ok=True)
        fsync_directory(self.directory)

    def _path(self, name: str, suffix: str) -> Path:
        if not all(_NAME.fullmatch(part) for part in name.split(".")):
            raise ValueError(f"{name!r} cannot name a key: use letters, digits, '.', '_', '@' and '-'")
        return self.directory / f"{name}.{suffix}"

    def _find(self, key_id: str) -> tuple[str, Ed25519PublicKey]:
        if re.fullmatch(r"[0-9a-f]{32}", key_id):
            for path in sorted(self.directory.glob(f"*.{key_id}.pub")):
                public = serialization.load_pem_public_key(path.read_bytes())
                if isinstance(public, Ed25519PublicKey) and key_identity(public.public_bytes_raw()) == key_id:
                    return path.name.removesuffix(f".{key_id}.pub"), public
        raise UnknownKeyError(f"{self.directory}: no public key {key_id}; copy the signer's .pub file here to verify")


def new_ed25519(passphrase: str | None = None) -> bytes:
    """A private key in PEM; with a passphrase encrypted (PKCS 8, PBES2)."""
    if passphrase:
        locked = serialization.BestAvailableEncryption(passphrase.encode())
        return Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked
        )
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def is_protected(pem: bytes) -> bool:
    return b"BEGIN ENCRYPTED PRIVATE KEY" in pem


def _public_pem(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
