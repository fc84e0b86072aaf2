"""Rows of the platform's chains as they travel: a model's audit entries, its decision record, what people signed.

The extract of the audit log is one unbroken run from this model's first entry to its last. Rows in between about other
models carry no content, only the digest of it: enough to check every link, and nothing more. A seal over the last row
lets the owner of the log show later that the log still holds exactly these rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, func, select

from clinical_assets.audit.chain import snapshot
from clinical_assets.audit.keys import Signer
from clinical_assets.audit.log import audit_log
from clinical_assets.audit.record_table import records
from clinical_assets.audit.revocations import Kind
from clinical_assets.audit.seals import Seal, make_seal
from clinical_assets.audit.statement_store import statements
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes

Row = dict[str, Any]


def audit_extract(engine: Engine, model_digest: str, signer: Signer) -> tuple[list[Row], Seal | None]:
    """The run of audit rows with its seal; no row and no seal for a model that was never logged."""
    column = audit_log.c
    with snapshot(engine) as connection:
        first, last = connection.execute(
            select(func.min(column.seq), func.max(column.seq)).where(column.subject == model_digest)
        ).one()
        if first is None:
            return [], None
        found = select(audit_log).where(column.seq.between(first, last)).order_by(column.seq)
        rows = [dict(row) for row in connection.execute(found).mappings()]
        length = connection.execute(select(func.count()).where(column.seq <= last)).scalar_one()
    for row in rows:
        if row["subject"] != model_digest:
            del row["body"]
    end = rows[-1]
    return rows, make_seal(audit_log.name, length, end["entry_hash"], end["at_utc"], signer)


def decision_rows(engine: Engine, model_digest: str, statements: Sequence[Row]) -> list[Row]:
    """The latest decision record of a model, and every withdrawal that touches it: of the model, the record, one of
    its `statements`, or a key that signed any of them."""
    with snapshot(engine) as connection:
        latest = select(records).where(records.c.model_digest == model_digest, records.c.kind == "decision")
        decision = connection.execute(latest.order_by(records.c.seq.desc()).limit(1)).mappings().first()
        signed = [dict(decision), *statements] if decision else list(statements)
        subjects = {model_digest, *(row["body_sha256"] for row in signed), *(row["key_id"] for row in signed)}
        withdrawn = select(records).where(
            records.c.kind.in_([str(kind) for kind in Kind]), records.c.model_digest.in_(subjects)
        )
        found = connection.execute(withdrawn.order_by(records.c.seq)).mappings()
        return ([dict(decision)] if decision else []) + [dict(row) for row in found]


def statement_rows(engine: Engine, model_digest: str) -> list[Row]:
    """Every approval, waiver and amendment filed under a model."""
    found = select(statements).where(statements.c.model_digest == model_digest).order_by(statements.c.seq)
    with snapshot(engine) as connection:
        return [dict(row) for row in connection.execute(found).mappings()]


def row_fault(chain: str, row: Mapping[str, Any]) -> str:
    """What is wrong with one row by itself; empty when its content and its hash agree."""
    entry = dict(row)
    stored, body = entry.pop("entry_hash", None), entry.pop("body", None)
    if body is not None and sha256_bytes(str(body).encode()) != entry.get("body_sha256"):
        return "its content was changed after it was written"
    if sha256_bytes(canonical_json({"chain": chain, **entry})) != stored:
        return "it was changed after it was written"
    return ""


def run_fault(chain: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """The first fault of a run of consecutive rows; empty when every link holds."""
    for index, row in enumerate(rows):
        where = f"row {index + 1} (seq {row.get('seq')})"
        fault = row_fault(chain, row)
        if fault:
            return f"{where}: {fault}"
        if index and row["previous"] != rows[index - 1]["entry_hash"]:
            return f"{where}: does not follow the row before; one was removed or added"
    return ""
