"""What was withdrawn: models, single records, statements of persons, keys. A withdrawal is for ever.

Withdrawals are rows of the chain of decision records: who removes one breaks the chain on which every record stands,
and who removes the whole chain removes the records with it. A revoked key takes all its signatures with it, older ones
too, since whoever stole a key can date a signature back; to retire a key in good order, make a new one instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy import Connection, Engine, select

from clinical_assets.audit.chain import snapshot
from clinical_assets.audit.keys import PLATFORM, KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.record_table import append_signed, chain, records
from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.foundation.clock import utc_iso


class Kind(StrEnum):
    """What is withdrawn. Values are kept in the database."""

    MODEL = "revocation"
    RECORD = "revoke_record"
    STATEMENT = "revoke_statement"
    KEY = "revoke_key"


@dataclass(frozen=True)
class Revoked:
    """When each was withdrawn, by digest or key identity. `problem`: why the list cannot be relied on."""

    when: Mapping[tuple[str, str], str] = field(default_factory=dict)
    problem: str = ""

    def fault(self, kind: Kind, subject: str, what: str) -> str:
        """Why `what` does not count; empty when it does."""
        if self.problem:
            return f"withdrawals cannot be read: {self.problem}"
        moment = self.when.get((kind, subject))
        return f"{what} was revoked on {moment}" if moment else ""

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(subject for kind, subject in self.when if kind == Kind.KEY)


class Revocations:
    def __init__(self, engine: Engine, keys: KeyStore) -> None:
        self.engine = engine
        self.keys = keys
        self._audit = AuditLog(engine, keys)

    def read(self, connection: Connection) -> Revoked:
        """All withdrawals; with `problem` where the chain that holds them does not verify."""
        state = chain.verify(connection, self.keys, PLATFORM, every_row_sealed=True, bodies=False)
        columns = (records.c.kind, records.c.model_digest, records.c.recorded_utc)
        query = select(*columns).where(records.c.kind.in_([str(kind) for kind in Kind])).order_by(records.c.seq.desc())
        when = {(row.kind, row.model_digest): row.recorded_utc for row in connection.execute(query)}
        return Revoked(when, "" if state.ok else state.problem)

    def now(self) -> Revoked:
        with snapshot(self.engine) as connection:
            return self.read(connection)

    def add(self, kind: Kind, subject: str, reason: str, actor: str, now: float, cancer: str = "") -> None:
        """Withdraw; a second time changes nothing that counts, and is put on record all the same.

        Args:
            subject: digest of the model, record or statement, or identity of the key.
            now: wall clock, seconds since the epoch.

        Raises:
            ValueError: no reason or no name is given.
        """
        if not reason.strip() or not actor.strip():
            raise ValueError(f"{kind} of {subject[:12]}: say who withdraws it and why")
        with self.engine.begin() as connection:
            self.add_within(connection, kind, subject, reason, actor, now, cancer)

    def add_within(
        self, connection: Connection, kind: Kind, subject: str, reason: str, actor: str, now: float, cancer: str
    ) -> None:
        """As `add`, committed or rolled back together with what else the transaction does."""
        at_utc = utc_iso(now)
        content = {"subject": subject, "reason": reason, "actor": actor, "revoked_utc": at_utc}
        signer = self.keys.signer(PLATFORM)
        append_signed(connection, signer, kind, cancer, subject, canonical_json(content), at_utc)
        what = kind.name.lower()
        payload = {"reason": reason, "cancer": cancer, "old": "in force", "new": "revoked", what: subject}
        self._audit.append_within(connection, actor, f"revoke_{what}", subject, payload, at_utc)
