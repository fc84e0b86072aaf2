"""Seals: signed statements of where a chain ended. Kept elsewhere, one unmasks a restored older database."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from clinical_assets.audit.keys import KeyStore, Signer
from clinical_assets.foundation.canonical import canonical_json


@dataclass(frozen=True)
class Seal:
    """`chain` had `length` rows and ended in the entry hash `head`."""

    chain: str
    length: int
    head: str
    sealed_utc: str
    key_id: str
    signature: str

    def valid(self, keys: KeyStore, signer_name: str | None) -> bool:
        """Whether the signature is that of a known key and, where given, of `signer_name`."""
        return keys.verify(self.key_id, self.signed, self.signature, signer_name)

    @property
    def signed(self) -> bytes:
        """The bytes that the signature covers."""
        return _signed_bytes(self.chain, self.length, self.head, self.sealed_utc)

    def to_json(self) -> bytes:
        """For a copy kept outside the database."""
        return canonical_json(asdict(self))

    @classmethod
    def from_json(cls, data: bytes) -> Seal:
        return cls(**json.loads(data))


def make_seal(chain: str, length: int, head: str, at_utc: str, signer: Signer) -> Seal:
    signature = signer.sign(_signed_bytes(chain, length, head, at_utc))
    return Seal(chain, length, head, at_utc, signer.key_id, signature)


def sealed_columns(seal: Seal) -> dict[str, str | int]:
    """The seal as columns of the table of heads."""
    return {
        "sealed_length": seal.length,
        "sealed_head": seal.head,
        "sealed_utc": seal.sealed_utc,
        "key_id": seal.key_id,
        "signature": seal.signature,
    }


def _signed_bytes(chain: str, length: int, head: str, sealed_utc: str) -> bytes:
    return b"chain-seal\n" + canonical_json([chain, length, head, sealed_utc])
