"""Public keys held in memory: those of a bundle, or the one that the reader trusts."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from clinical_assets.audit.keys import key_identity
from clinical_assets.foundation.canonical import sha256_json


@dataclass(frozen=True)
class KeyRing:
    """Keys by identity, each with the name under which it was made; `faults` names files that hold no such key."""

    signers: dict[str, tuple[str, Ed25519PublicKey]] = field(default_factory=dict)
    artifacts: tuple[ec.EllipticCurvePublicKey, ...] = ()
    faults: tuple[str, ...] = ()

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> KeyRing:
        """From public key files, `<name>.<key id>.pub` -> PEM. A name must carry its key's own identity."""
        signers, artifacts, faults = {}, [], []
        for name, pem in files.items():
            owner, _, identity = name.removesuffix(".pub").rpartition(".")
            try:
                public = _public(name, pem)
            except ValueError as error:
                faults.append(str(error))
                continue
            if not isinstance(public, Ed25519PublicKey):
                artifacts.append(public)
            elif key_identity(public.public_bytes_raw()) != identity:
                faults.append(f"{name}: the key in it has another identity than its name says")
            else:
                signers[identity] = (owner, public)
        return cls(signers, tuple(artifacts), tuple(faults))

    def verify(self, key_id: str, data: bytes, signature: str, owner: str | None = None) -> bool:
        """Whether `signature` (hexadecimal, Ed25519) is that key's, and the key `owner`'s."""
        if key_id not in self.signers:
            return False
        name, public = self.signers[key_id]
        try:
            public.verify(bytes.fromhex(signature), data)
        except (InvalidSignature, ValueError):
            return False
        return owner in (None, name)


def trusted_key(pem: bytes, source: str) -> tuple[str, Ed25519PublicKey]:
    """Identity and key of a public key file of any name.

    Raises:
        ValueError: not an Ed25519 public key.
    """
    public = _public(source, pem)
    if not isinstance(public, Ed25519PublicKey):
        raise ValueError(f"{source}: not an Ed25519 public key; give the platform's .pub file")
    return key_identity(public.public_bytes_raw()), public


def model_signature_problem(signature: bytes, model_digest: str, keys: KeyRing) -> str:
    """What is wrong with an OpenSSF model signature; empty when a key of ours signed just the files of this model.

    The signed statement lists the digest of every file, from which the model digest follows: the model's files
    themselves are not needed.
    """
    try:
        envelope = json.loads(signature)["dsseEnvelope"]
        kind, payload = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"], validate=True)
        signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
        proofs = [base64.b64decode(entry["sig"], validate=True) for entry in envelope["signatures"]]
        resources = json.loads(payload)["predicate"]["resources"]
        listed = sorted([entry["name"], entry["digest"]] for entry in resources if entry["algorithm"] == "sha256")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        return f"it cannot be read ({type(error).__name__})"
    if not any(_signed_by(key, proof, signed) for key in keys.artifacts for proof in proofs):
        return "no artifact key of this bundle made it"
    if len(listed) != len(resources) or sha256_json(listed) != model_digest:
        return "the files that it lists do not make up this model"
    return ""


def _signed_by(key: ec.EllipticCurvePublicKey, proof: bytes, signed: bytes) -> bool:
    try:
        key.verify(proof, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _public(name: str, pem: bytes) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
    try:
        public = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: not a public key in PEM") from error
    if not isinstance(public, Ed25519PublicKey | ec.EllipticCurvePublicKey):
        raise ValueError(f"{name}: neither Ed25519 nor EC")
    return public
