"""Decision records: the signed statement that these five gates judged this model under this policy, and the one place
that says whether a model may act. Whoever writes a route or loads a model asks `RecordStore.require`.

Times are wall-clock: a replayed clinical clock does not age a verdict.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, Row, select

from clinical_assets.audit.chain import ChainState, snapshot
from clinical_assets.audit.decision import DecisionRecord, Refused, SignedRecord
from clinical_assets.audit.keys import PLATFORM, KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.record_table import append_signed, chain, records, signed_bytes
from clinical_assets.audit.revocations import Kind, Revocations
from clinical_assets.audit.seals import Seal
from clinical_assets.audit.statement_store import StatementStore, statements
from clinical_assets.foundation.canonical import sha256_bytes
from clinical_assets.foundation.clock import SECONDS_PER_DAY, utc_iso
from clinical_assets.gates.facts import utc_seconds
from clinical_assets.gates.verdict import GateName, GateReport, Scope, Tier
from clinical_assets.gates.verdicts import limits, scope

VALID_DAYS = 90.0


class RecordStore:
    """Issues, revokes and verifies decision records. A revoked model stays revoked."""

    def __init__(self, engine: Engine, keys: KeyStore) -> None:
        self.engine = engine
        self.keys = keys
        self.statements = StatementStore(engine, keys)
        self.revocations = Revocations(engine, keys)
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
            chain.lock(connection)
            before = self._latest(connection, model_digest)
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
                previous=chain.head(connection),
                actor=actor,
            )
            body = record.canonical()
            signature = append_signed(connection, signer, "decision", cancer, model_digest, body, issued_utc)
            self._audit.append_within(
                connection,
                actor,
                "issue_decision_record",
                model_digest,
                {
                    "record": sha256_bytes(body),
                    "cancer": cancer,
                    "scope": record.scope,
                    "tier": tier,
                    "old": before.body_sha256 if before else "none",
                    "new": sha256_bytes(body),
                    "reason": "the five gates judged the model",
                },
                issued_utc,
            )
        return SignedRecord(sha256_bytes(body), record, signature, signer.key_id, record.scope)

    def revoke(self, model_digest: str, reason: str, actor: str, now: float) -> None:
        """Withdraw every record of a model, past and future.

        Raises:
            Refused: the model has no record.
        """
        with self.engine.begin() as connection:
            chain.lock(connection)
            latest = self._latest(connection, model_digest)
            if latest is None:
                raise Refused(f"model {model_digest[:12]} has no decision record to revoke; check the digest")
            self.revocations.add_within(connection, Kind.MODEL, model_digest, reason, actor, now, latest.cancer)

    def find(self, model_digest: str) -> SignedRecord | None:
        """The latest record of a model as stored, unverified; `require` is what grants anything."""
        with snapshot(self.engine) as connection:
            row = self._latest(connection, model_digest)
        if row is None:
            return None
        record = DecisionRecord.model_validate_json(row.body)
        return SignedRecord(row.body_sha256, record, row.signature, row.key_id, record.scope)

    def named(self, beginning: str) -> list[tuple[Kind, str, str]]:
        """Models, records and statements whose digest begins so: what each is, its digest, its cancer type."""
        models = select(records.c.model_digest, records.c.cancer).where(records.c.kind == "decision")
        issued = select(records.c.body_sha256, records.c.cancer).where(records.c.kind == "decision")
        signed = select(statements.c.body_sha256, statements.c.cancer)
        with snapshot(self.engine) as connection:
            return [
                (kind, digest, cancer)
                for kind, query in ((Kind.MODEL, models), (Kind.RECORD, issued), (Kind.STATEMENT, signed))
                for digest, cancer in connection.execute(query.distinct())
                if digest.startswith(beginning)
            ]

    def first_issued(self, model_digest: str) -> str | None:
        """When the gates first judged a model; None before that."""
        query = select(records.c.recorded_utc).where(
            records.c.model_digest == model_digest, records.c.kind == "decision"
        )
        with snapshot(self.engine) as connection:
            return connection.execute(query.order_by(records.c.seq).limit(1)).scalar_one_or_none()

    def first_granted(self, cancer: str, needed: Scope) -> SignedRecord | None:
        """The first record of a cancer type that granted `needed` as issued, its signature verified; None if none did.

        Records of a revoked model do not count.

        Raises:
            Refused: that record was altered or is not signed by the platform.
        """
        of_cancer = records.c.cancer == cancer
        with snapshot(self.engine) as connection:
            revoked = select(records.c.model_digest).where(of_cancer, records.c.kind == "revocation")
            query = select(records).where(
                of_cancer, records.c.kind == "decision", records.c.model_digest.not_in(revoked)
            )
            for row in connection.execute(query.order_by(records.c.seq)):
                if Scope(json.loads(row.body)["scope"]).covers(needed):
                    return self._verified(row, f"{cancer}: model {row.model_digest[:12]}")
        return None

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> SignedRecord:
        """The record on which the model may act in `needed` scope for `cancer` at `now` (wall clock, seconds).

        Raises:
            Refused: no record, a broken chain or signature, altered content, another model or cancer type, a missing
                gate, a check that blocks, a narrower scope, expired, or revoked.
        """
        model = f"{cancer}: model {model_digest[:12]}"
        with snapshot(self.engine) as connection:
            revoked = self.revocations.read(connection)
            row = self._latest(connection, model_digest)
        if revoked.problem:
            raise Refused(
                f"{model}: the chain of decision records is broken ({revoked.problem}); restore it from backup"
            )
        if row is None:
            raise Refused(f"{model} has no decision record; run the gates: materialize gate_verdict for {cancer}")
        for kind, subject, what, remedy in (
            (Kind.MODEL, model_digest, "its verdict", "train a new model"),
            (Kind.RECORD, row.body_sha256, "its decision record", "run the gates again"),
            (Kind.KEY, row.key_id, "the key that signed its decision record", "run the gates again"),
        ):
            fault = revoked.fault(kind, subject, what)
            if fault:
                raise Refused(f"{model}: {fault}; {remedy}")
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
            return chain.verify(connection, self.keys, PLATFORM, every_row_sealed=True, witness=witness)

    def seal(self, now: float) -> Seal:
        """A signed statement of the store's present end, to be kept outside the database."""
        with self.engine.begin() as connection:
            return chain.seal(connection, self.keys.signer(PLATFORM), utc_iso(now))

    def _verified(self, row: Row[Any], model: str) -> SignedRecord:
        body = row.body.encode()
        if sha256_bytes(body) != row.body_sha256:
            raise Refused(f"{model}: the stored decision record was altered; restore it from backup")
        if not self.keys.verify(row.key_id, signed_bytes("decision", body), row.signature, PLATFORM):
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
