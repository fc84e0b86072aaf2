"""Decision records: the signed statement that these five gates judged this model under this policy, and the one place
that says whether a model may act. Whoever writes a route or loads a model asks `RecordStore.require`.

Times are wall-clock: a replayed clinical clock does not age a verdict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Column, Connection, Engine, Row, String, select

from clinical_assets.audit.chain import ChainState, HashChain, body_columns, chained_table, snapshot
from clinical_assets.audit.decision import DecisionRecord, Refused, SignedRecord
from clinical_assets.audit.keys import PLATFORM, KeyStore, Signer
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.seals import Seal
from clinical_assets.audit.statement_store import StatementStore
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.foundation.clock import SECONDS_PER_DAY, utc_iso
from clinical_assets.gates.facts import utc_seconds
from clinical_assets.gates.verdict import GateName, GateReport, Scope, Tier
from clinical_assets.gates.verdicts import limits, scope

VALID_DAYS = 90.0

records = chained_table(
    "records",
    Column("kind", String(16), nullable=False),  # "decision" or "revocation"
    Column("cancer", String(64), nullable=False),
    Column("model_digest", String(64), nullable=False, index=True),
    Column("key_id", String(32), nullable=False),
    Column("signature", String(128), nullable=False),
    Column("recorded_utc", String(32), nullable=False),
    *body_columns(),
)


class RecordStore:
    """Issues, revokes and verifies decision records. A revoked model stays revoked."""

    def __init__(self, engine: Engine, keys: KeyStore) -> None:
        self.engine = engine
        self.keys = keys
        self.statements = StatementStore(engine, keys)
        self._chain = HashChain(records)
        self._audit = AuditLog(engine, keys)

    def issue(
        self,
        *,
        cancer: str,
        model_digest: str,
        data_digests: Mapping[str, str],
        policy_digest: str,
        lineage: Mapping[str, Any],
        reports: Iterable[GateReport],
        tier: Tier,
        actor: str,
        now: float,
        valid_days: float = VALID_DAYS,
    ) -> SignedRecord:
        """Sign and store the verdict, whatever it is: a refusal is evidence too.

        Args:
            now: wall clock, seconds since the epoch.

        Raises:
            ValueError: two reports of one gate, or a report holding NaN or an infinity (names gate and check).
        """
        given = list(reports)
        by_gate = {report.gate: report for report in given}
        if len(by_gate) != len(given):
            raise ValueError(f"{cancer}: more than one report of the same gate")
        waivers = self.statements.waivers(cancer, model_digest, now)
        issued_utc = utc_iso(now)
        signer = self.keys.signer(PLATFORM)
        with self.engine.begin() as connection:
            self._chain.lock(connection)
            record = DecisionRecord(
                cancer=cancer,
                model_digest=model_digest,
                data_digests=dict(data_digests),
                policy_digest=policy_digest,
                lineage=dict(lineage),
                reports=by_gate,
                scope=scope(by_gate, tier, waivers, now),
                tier=tier,
                issued_utc=issued_utc,
                expires_utc=utc_iso(now + valid_days * SECONDS_PER_DAY),
                previous=self._chain.head(connection),
                actor=actor,
            )
            body = record.canonical()
            signature = self._append(connection, signer, "decision", cancer, model_digest, body, issued_utc)
            self._audit.append_within(
                connection,
                actor,
                "issue_decision_record",
                model_digest,
                {"record": sha256_bytes(body), "cancer": cancer, "scope": record.scope, "tier": tier},
                issued_utc,
            )
        return SignedRecord(sha256_bytes(body), record, signature, signer.key_id, record.scope)

    def revoke(self, model_digest: str, reason: str, actor: str, now: float) -> None:
        """Withdraw every record of a model, past and future.

        Raises:
            Refused: the model has no record.
        """
        revoked_utc = utc_iso(now)
        with self.engine.begin() as connection:
            self._chain.lock(connection)
            latest = self._latest(connection, model_digest)
            if latest is None:
                raise Refused(f"model {model_digest[:12]} has no decision record to revoke; check the digest")
            content = {"model_digest": model_digest, "reason": reason, "actor": actor, "revoked_utc": revoked_utc}
            body = canonical_json(content)
            signer = self.keys.signer(PLATFORM)
            self._append(connection, signer, "revocation", latest.cancer, model_digest, body, revoked_utc)
            payload = {"reason": reason, "cancer": latest.cancer}
            self._audit.append_within(connection, actor, "revoke_model", model_digest, payload, revoked_utc)

    def find(self, model_digest: str) -> SignedRecord | None:
        """The latest record of a model as stored, unverified; `require` is what grants anything."""
        with snapshot(self.engine) as connection:
            row = self._latest(connection, model_digest)
        if row is None:
            return None
        record = DecisionRecord.model_validate_json(row.body)
        return SignedRecord(row.body_sha256, record, row.signature, row.key_id, record.scope)

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> SignedRecord:
        """The record on which the model may act in `needed` scope for `cancer` at `now` (wall clock, seconds).

        Raises:
            Refused: no record, a broken chain or signature, altered content, another model or cancer type, a missing
                gate, a check that blocks, a narrower scope, expired, or revoked.
        """
        model = f"{cancer}: model {model_digest[:12]}"
        with snapshot(self.engine) as connection:
            chain = self._chain.verify(connection, self.keys, PLATFORM, every_row_sealed=True, bodies=False)
            row = self._latest(connection, model_digest)
            revoked = connection.execute(
                select(records.c.recorded_utc).where(
                    records.c.model_digest == model_digest, records.c.kind == "revocation"
                )
            ).first()
        if not chain.ok:
            raise Refused(f"{model}: the chain of decision records is broken ({chain.problem}); restore it from backup")
        if row is None:
            raise Refused(f"{model} has no decision record; run the gates: materialize gate_verdict for {cancer}")
        if revoked is not None:
            raise Refused(f"{model}: its verdict was revoked on {revoked.recorded_utc}; train a new model")
        signed = self._verified(row, model)
        record = signed.record
        if record.cancer != cancer:
            raise Refused(f"{model}: the decision record is for cancer type {record.cancer}")
        if not utc_seconds(record.issued_utc) <= now < utc_seconds(record.expires_utc):
            raise Refused(
                f"{model}: the decision record is valid from {record.issued_utc} to {record.expires_utc}, "
                f"not on {utc_iso(now)}; run the gates again"
            )
        waivers = self.statements.waivers(cancer, model_digest, now)
        granted = scope(record.reports, record.tier, waivers, now)
        if not granted.covers(needed):
            found = limits(record.reports, record.tier, waivers, now)
            reasons = "; ".join(limit.reason for limit in found if not limit.scope.covers(needed))
            raise Refused(f"{model}: its verdict grants {granted}, {needed} is needed ({reasons})")
        return SignedRecord(signed.digest, record, signed.signature, signed.key_id, granted)

    def verify_chain(self, witness: Seal | None = None) -> ChainState:
        """Every record, link, body and seal."""
        with snapshot(self.engine) as connection:
            return self._chain.verify(connection, self.keys, PLATFORM, every_row_sealed=True, witness=witness)

    def seal(self, now: float) -> Seal:
        """A signed statement of the store's present end, to be kept outside the database."""
        with self.engine.begin() as connection:
            return self._chain.seal(connection, self.keys.signer(PLATFORM), utc_iso(now))

    def _verified(self, row: Row[Any], model: str) -> SignedRecord:
        body = row.body.encode()
        if sha256_bytes(body) != row.body_sha256:
            raise Refused(f"{model}: the stored decision record was altered; restore it from backup")
        if not self.keys.verify(row.key_id, _signed_bytes("decision", body), row.signature, PLATFORM):
            raise Refused(f"{model}: the decision record has no valid platform signature")
        try:
            record = DecisionRecord.model_validate_json(body)
        except ValidationError as error:
            raise Refused(f"{model}: the decision record cannot be read ({error.error_count()} faults)") from error
        if (record.model_digest, record.cancer, record.previous) != (row.model_digest, row.cancer, row.previous):
            raise Refused(f"{model}: the decision record is filed under a model or place that is not its own")
        for gate, report in record.reports.items():
            judged = (report.gate, report.cancer, report.model_digest, report.policy_digest)
            if judged != (gate, record.cancer, record.model_digest, record.policy_digest):
                raise Refused(f"{model}: the {gate} report judged another model, cancer type or policy")
        missing = [gate.value for gate in GateName if gate not in record.reports]
        if missing:
            raise Refused(f"{model}: no report of gate {', '.join(missing)}; all five are needed")
        return SignedRecord(row.body_sha256, record, row.signature, row.key_id, record.scope)

    def _latest(self, connection: Connection, model_digest: str) -> Row[Any] | None:
        query = select(records).where(records.c.model_digest == model_digest, records.c.kind == "decision")
        return connection.execute(query.order_by(records.c.seq.desc()).limit(1)).first()

    def _append(
        self,
        connection: Connection,
        signer: Signer,
        kind: str,
        cancer: str,
        model_digest: str,
        body: bytes,
        at_utc: str,
    ) -> str:
        signature = signer.sign(_signed_bytes(kind, body))
        row = {
            "kind": kind,
            "cancer": cancer,
            "model_digest": model_digest,
            "key_id": signer.key_id,
            "signature": signature,
            "recorded_utc": at_utc,
            "body": body.decode(),
        }
        self._chain.append(connection, [row], signer, at_utc)
        return signature


def _signed_bytes(kind: str, body: bytes) -> bytes:
    return f"{kind}\n".encode() + body
