"""The audit log: who did what to what, when, and why; append-only, hash-chained, every append sealed by the platform.

Basis: 21 CFR 11.10(e) and ICH E6(R3) 4.2.2 ask for secure, time-stamped, computer-generated trails that do not obscure
what was recorded before. No patient data belongs here, not even pseudonyms: subjects are models and rollouts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Engine, String, select

from clinical_assets.audit.chain import ChainState, HashChain, body_columns, chained_table, snapshot
from clinical_assets.audit.keys import PLATFORM, KeyStore
from clinical_assets.audit.seals import Seal
from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.foundation.outages import repeatable

audit_log = chained_table(
    "audit_log",
    Column("at_utc", String(32), nullable=False),
    Column("actor", String(128), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(160), nullable=False, index=True),
    *body_columns(),  # the payload
)

PATIENT_KEYS = frozenset(
    {
        *("patient", "patients", "patient_id", "pid", "mrn", "pseudonym"),
        *("subject_id", "subject_ids", "request_id", "request_ids", "birth_date", "dob"),
    }
)


class PatientDataRefused(ValueError):
    """A payload names patients; it was not logged."""


@dataclass(frozen=True)
class AuditEntry:
    seq: int
    at_utc: str
    actor: str
    action: str
    subject: str
    payload: Mapping[str, Any]
    entry_hash: str


class AuditLog:
    """Appends are serialised; entry, chain link and signed head commit together."""

    def __init__(self, engine: Engine, keys: KeyStore) -> None:
        self.engine = engine
        self.keys = keys
        self._chain = HashChain(audit_log)

    def append(self, actor: str, action: str, subject: str, payload: Mapping[str, Any], at_utc: str) -> str:
        """Log one action and return the entry's hash.

        Raises:
            PatientDataRefused: the payload has a key that holds patient identifiers or pseudonyms.
            ValueError: the payload holds NaN or an infinity.
        """
        with self.engine.begin() as connection:
            return self.append_within(connection, actor, action, subject, payload, at_utc)

    def append_within(
        self, connection: Connection, actor: str, action: str, subject: str, payload: Mapping[str, Any], at_utc: str
    ) -> str:
        """As `append`, committed or rolled back together with what it describes."""
        _refuse_patient_data(payload, action)
        row = {"at_utc": at_utc, "actor": actor, "action": action, "subject": subject}
        row["body"] = canonical_json(dict(payload)).decode()
        return self._chain.append(connection, [row], self.keys.signer(PLATFORM), at_utc)[0]

    @repeatable
    def append_once(self, actor: str, action: str, subject: str, payload: Mapping[str, Any], at_utc: str) -> bool:
        """As `append`, unless this action on this subject is logged with this payload; whether it was logged now.

        Look and append are one transaction: of several that try, and after a crash at any moment, one entry stands.
        """
        body = canonical_json(dict(payload)).decode()
        logged = select(audit_log.c.body).where(audit_log.c.subject == subject, audit_log.c.action == action)
        with self.engine.begin() as connection:
            self._chain.lock(connection)
            if body in connection.execute(logged).scalars().all():
                return False
            self.append_within(connection, actor, action, subject, payload, at_utc)
        return True

    def entries(self, subject: str | None = None, action: str | None = None) -> list[AuditEntry]:
        """In order of logging; with `subject` or `action`, only those."""
        query = select(audit_log).order_by(audit_log.c.seq)
        if subject is not None:
            query = query.where(audit_log.c.subject == subject)
        if action is not None:
            query = query.where(audit_log.c.action == action)
        with snapshot(self.engine) as connection:
            return [
                AuditEntry(
                    row.seq, row.at_utc, row.actor, row.action, row.subject, json.loads(row.body), row.entry_hash
                )
                for row in connection.execute(query)
            ]

    def verify_chain(self, witness: Seal | None = None) -> ChainState:
        """Every entry, link, body and seal; with `witness`, also that no older copy was put back."""
        with snapshot(self.engine) as connection:
            return self._chain.verify(connection, self.keys, PLATFORM, every_row_sealed=True, witness=witness)

    def seal(self, at_utc: str) -> Seal:
        """A signed statement of the log's present end, to be kept outside the database."""
        with self.engine.begin() as connection:
            return self._chain.seal(connection, self.keys.signer(PLATFORM), at_utc)


def _refuse_patient_data(value: Any, action: str) -> None:
    if isinstance(value, Mapping):
        named = sorted(PATIENT_KEYS & {str(key).lower() for key in value})
        if named:
            raise PatientDataRefused(
                f"audit entry {action!r}: payload key {named[0]!r} holds patient data; log a count"
            )
        for item in value.values():
            _refuse_patient_data(item, action)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_patient_data(item, action)
