"""The chained table of decision records and of everything that withdraws one."""

from __future__ import annotations

from sqlalchemy import Column, Connection, String

from clinical_assets.audit.chain import HashChain, body_columns, chained_table
from clinical_assets.audit.keys import Signer

records = chained_table(
    "records",
    Column("kind", String(16), nullable=False),  # "decision", or a member of `revocations.Kind`
    Column("cancer", String(64), nullable=False),
    Column("model_digest", String(64), nullable=False, index=True),  # or the digest or key that is withdrawn
    Column("key_id", String(32), nullable=False),
    Column("signature", String(128), nullable=False),
    Column("recorded_utc", String(32), nullable=False),
    *body_columns(),
)

chain = HashChain(records)


def append_signed(
    connection: Connection, signer: Signer, kind: str, cancer: str, subject: str, body: bytes, at_utc: str
) -> str:
    """Add one row, sealed with the chain, and return the signature of its body."""
    signature = signer.sign(signed_bytes(kind, body))
    row = {
        "kind": kind,
        "cancer": cancer,
        "model_digest": subject,
        "key_id": signer.key_id,
        "signature": signature,
        "recorded_utc": at_utc,
        "body": body.decode(),
    }
    chain.append(connection, [row], signer, at_utc)
    return signature


def signed_bytes(kind: str, body: bytes) -> bytes:
    return f"{kind}\n".encode() + body
