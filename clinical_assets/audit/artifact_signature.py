"""Signature over a model directory (OpenSSF model-signing, EC P-256, offline): a changed, removed or added file shows.

The signature is kept outside the directory, because the model digest covers every file in it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from clinical_assets.audit.keys import KeyStore, key_identity
from clinical_assets.foundation.files import write_atomic

KEY_NAME = "artifacts"


@dataclass(frozen=True)
class SignatureState:
    """`problem` says what does not verify; it is empty when `ok`."""

    ok: bool
    problem: str = ""

    @property
    def fact(self) -> bool | str:
        """As the security gate takes it: True, or what is wrong."""
        return self.ok or self.problem


def sign_directory(directory: Path, signature: Path, keys: KeyStore) -> str:
    """Write the signature of all files below `directory` to `signature` and return the key's identity.

    Raises:
        ValueError: `signature` lies inside `directory`, which would change what it signs.
        KeyPermissionError: the artifact key is open to other users.
    """
    if signature.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"{signature}: keep the signature outside the directory that it signs ({directory})")
    from model_signing import signing

    private, key_id = _artifact_key(keys)
    aside = signature.with_name(f".{signature.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        signing.Config().use_elliptic_key_signer(private_key=private).sign(directory, aside)
        write_atomic(signature, aside.read_bytes())
    finally:
        aside.unlink(missing_ok=True)
    return key_id


def verify_directory(directory: Path, signature: Path, keys: KeyStore, revoked: Collection[str] = ()) -> SignatureState:
    """Whether one of our artifact keys, none of the `revoked`, signed exactly the files that are in `directory`."""
    if not signature.is_file():
        return SignatureState(False, f"no signature {signature.name} beside the model directory")
    if overlooked := _overlooked(directory):
        return SignatureState(False, f"not covered by the signature: {', '.join(overlooked)}")
    from model_signing import verifying

    problem = f"{keys.directory}: no public artifact key; copy the signer's .pub file here to verify"
    for public in sorted(keys.directory.glob(f"{KEY_NAME}.*.pub")):
        if public.name.split(".")[-2] in revoked:
            problem = f"{public.name}: this key was revoked; train again to sign with another"
            continue
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=public).verify(directory, signature)
        except Exception as error:  # model-signing raises many types for a signature that does not verify
            problem = f"{type(error).__name__}: {error}"
        else:
            return SignatureState(True)
    return SignatureState(False, problem)


def _overlooked(directory: Path) -> list[str]:
    """What model-signing passes over: git's files, and directories that hold no file."""
    entries = list(directory.rglob("*"))
    git = [entry for entry in entries if entry.relative_to(directory).parts[0].startswith(".git")]
    empty = [entry for entry in entries if entry.is_dir() and not entry.is_symlink() and not any(entry.iterdir())]
    return sorted({entry.relative_to(directory).as_posix() for entry in (*git, *empty)})


def _artifact_key(keys: KeyStore) -> tuple[Path, str]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def generate() -> bytes:
        return ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    path = keys.directory / f"{KEY_NAME}.key"
    public = serialization.load_pem_private_key(keys.private_bytes(path, generate), password=None).public_key()
    key_id = key_identity(
        public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    published = keys.directory / f"{KEY_NAME}.{key_id}.pub"
    if not published.exists():
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        write_atomic(published, pem)
    return path, key_id
