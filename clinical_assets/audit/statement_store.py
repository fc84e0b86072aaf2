"""Where approvals and waivers are kept: append-only, chained, every signature verified again on reading."""

from __future__ import annotations

from typing import Any, TypeVar

from sqlalchemy import Column, Engine, Row, String, select

from clinical_assets.audit.chain import ChainState, HashChain, body_columns, chained_table, snapshot
from clinical_assets.audit.keys import PLATFORM, KeyStore, Signer
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.statements import Approval, SignedStatement, StatementRefused, Waiver, approval_fault
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.gates.facts import SignatureFact, VerifiedApproval, VerifiedWaiver, utc_seconds

statements = chained_table(
    "statements",
    Column("kind", String(16), nullable=False),
    Column("cancer", String(64), nullable=False),
    Column("model_digest", String(64), nullable=False, index=True),
    Column("signer", String(64), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("signature", String(128), nullable=False),
    Column("recorded_utc", String(32), nullable=False),
    *body_columns(),
)

S = TypeVar("S", Approval, Waiver)


class StatementStore:
    """Stores signed statements; reading verifies each signature again."""

    def __init__(self, engine: Engine, keys: KeyStore) -> None:
        self.engine = engine
        self.keys = keys
        self._chain = HashChain(statements)
        self._audit = AuditLog(engine, keys)

    def sign(self, statement: Approval | Waiver, signer: Signer) -> SignedStatement:
        """Sign in person and store.

        Raises:
            StatementRefused: the signer is not the person that the statement names, or is the platform itself.
        """
        if signer.name != statement.signed_by or signer.name == PLATFORM:
            raise StatementRefused(
                f"{statement.cancer}: the {statement.kind} names {statement.signed_by!r} but the key belongs to "
                f"{signer.name!r}; a person signs in their own name"
            )
        body = canonical_json(statement.model_dump(mode="json"))
        return self.store(body.decode(), signer.sign(_signed_bytes(statement.kind, body)), signer.key_id)

    def store(self, body: str, signature: str, key_id: str) -> SignedStatement:
        """Store a statement signed elsewhere.

        Raises:
            StatementRefused: the signature is not the named person's signature of exactly this statement.
        """
        signed = self._read(body, signature, key_id)
        statement = signed.statement
        if signed.problem:
            raise StatementRefused(f"{statement.cancer}: {statement.kind} not stored: {signed.problem}")
        row = {
            "kind": statement.kind,
            "cancer": statement.cancer,
            "model_digest": statement.model_digest,
            "signer": statement.signed_by,
            "key_id": key_id,
            "signature": signature,
            "recorded_utc": statement.issued_utc,
            "body": body,
        }
        with self.engine.begin() as connection:
            self._chain.append(connection, [row], self.keys.signer(PLATFORM), statement.issued_utc)
            self._audit.append_within(
                connection,
                statement.signed_by,
                f"sign_{statement.kind}",
                statement.model_digest,
                {"statement": signed.digest, "cancer": statement.cancer, "key_id": key_id},
                statement.issued_utc,
            )
        return signed

    def statements(self, model_digest: str) -> list[SignedStatement]:
        """All statements filed under a model, the faulty ones with their problem."""
        query = select(statements).where(statements.c.model_digest == model_digest).order_by(statements.c.seq)
        with snapshot(self.engine) as connection:
            return [self._read_row(row) for row in connection.execute(query).all()]

    def waivers(self, cancer: str, model_digest: str, now: float) -> tuple[VerifiedWaiver, ...]:
        """Waivers that verify and are in force at `now` (wall clock, seconds)."""
        return tuple(
            VerifiedWaiver(s.check_id, s.cancer, s.model_digest, s.expires_utc, s.signer, s.reason, s.scope)
            for s in self._standing(Waiver, cancer, model_digest, now)
        )

    def approvals(self, cancer: str, model_digest: str, now: float) -> tuple[VerifiedApproval, ...]:
        """Approvals that verify and are in force at `now` (wall clock, seconds)."""
        return tuple(
            VerifiedApproval(
                s.name, s.role, s.meaning, s.cancer, s.model_digest, s.environment, s.issued_utc, s.expires_utc
            )
            for s in self._standing(Approval, cancer, model_digest, now)
        )

    def signature_facts(self, model_digest: str) -> tuple[SignatureFact, ...]:
        """Every statement presented for a model and whether its signature verified, for the regulatory gate."""
        return tuple(
            SignatureFact(s.statement.kind, s.statement.signed_by, s.statement.model_digest, not s.problem, s.problem)
            for s in self.statements(model_digest)
        )

    def require_approval(
        self, cancer: str, model_digest: str, rollout_id: str, environment: str, author: str, now: float
    ) -> SignedStatement:
        """The approval on which a rollout may go to 100 %.

        Args:
            author: who trained the model or opened the rollout; an approval by the author does not count.
            now: wall clock, seconds since the epoch.

        Raises:
            StatementRefused: no approval stands; names what is wrong with each one found.
        """
        faults = []
        for signed in self.statements(model_digest):
            approval = signed.statement
            if not isinstance(approval, Approval):
                continue
            fault = signed.problem or approval_fault(approval, cancer, rollout_id, environment, author, now)
            if not fault:
                chain = self.verify_chain()
                if chain.ok:
                    return signed
                fault = chain.problem
            faults.append(f"{approval.name}: {fault}")
        found = "; ".join(faults) or "none was signed"
        raise StatementRefused(
            f"{cancer}: no valid approval of model {model_digest[:12]} for {rollout_id} in {environment} ({found}); "
            f"a named person other than {author} signs one with `clinical approve {cancer}`"
        )

    def verify_chain(self) -> ChainState:
        with snapshot(self.engine) as connection:
            return self._chain.verify(connection, self.keys, PLATFORM, every_row_sealed=True)

    def _standing(self, kind: type[S], cancer: str, model_digest: str, now: float) -> list[S]:
        return [
            signed.statement
            for signed in self.statements(model_digest)
            if isinstance(signed.statement, kind)
            and not signed.problem
            and signed.statement.cancer == cancer
            and utc_seconds(signed.statement.issued_utc) <= now < utc_seconds(signed.statement.expires_utc)
        ]

    def _read_row(self, row: Row[Any]) -> SignedStatement:
        signed = self._read(row.body, row.signature, row.key_id)
        named = (signed.statement.kind, signed.statement.cancer, signed.statement.model_digest)
        if not signed.problem and named != (row.kind, row.cancer, row.model_digest):
            return SignedStatement(
                signed.statement, signed.digest, row.signature, row.key_id, "it is filed under another model or cancer"
            )
        return signed

    def _read(self, body: str, signature: str, key_id: str) -> SignedStatement:
        kind = Waiver if '"kind":"waiver"' in body else Approval
        statement = kind.model_validate_json(body)
        problem = ""
        if not self.keys.verify(key_id, _signed_bytes(statement.kind, body.encode()), signature, statement.signed_by):
            problem = f"the signature is not {statement.signed_by}'s signature of this {statement.kind}"
        elif statement.signed_by == PLATFORM:
            problem = "the platform cannot stand in for a person"
        return SignedStatement(statement, sha256_bytes(body.encode()), signature, key_id, problem)


def _signed_bytes(kind: str, body: bytes) -> bytes:
    return f"{kind}\n".encode() + body
