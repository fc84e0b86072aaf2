"""Where persons' statements are kept: append-only, chained, every signature verified again on reading."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Engine, Row, String, select

from clinical_assets.audit.chain import ChainState, HashChain, body_columns, chained_table, snapshot
from clinical_assets.audit.keys import PLATFORM, KeyStore, Signer
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.revocations import Kind, Revocations, Revoked
from clinical_assets.audit.statements import (
    Amendment,
    Approval,
    SignedStatement,
    StatementRefused,
    Waiver,
    approval_fault,
)
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.gates.facts import CHANGE, SignatureFact, VerifiedApproval, VerifiedWaiver, utc_seconds

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

S = TypeVar("S", Approval, Waiver, Amendment)
_KINDS = {"approval": Approval, "waiver": Waiver, "amendment": Amendment}


class StatementStore:
    """Stores signed statements; reading verifies each signature again."""

    def __init__(self, engine: Engine, keys: KeyStore) -> None:
        self.engine = engine
        self.keys = keys
        self.revocations = Revocations(engine, keys)
        self._chain = HashChain(statements)
        self._audit = AuditLog(engine, keys)

    def sign(self, statement: Approval | Waiver | Amendment, signer: Signer) -> SignedStatement:
        """Sign in person and store; how the signer proved to be that person becomes part of what is signed.

        Raises:
            StatementRefused: the signer is not the person that the statement names, is the platform itself, or signs
                with a revoked key.
        """
        if signer.name != statement.signed_by or signer.name == PLATFORM:
            raise StatementRefused(
                f"{statement.cancer}: the {statement.kind} names {statement.signed_by!r} but the key belongs to "
                f"{signer.name!r}; a person signs in their own name"
            )
        shown = "key and passphrase" if signer.passphrase_given else "key"
        body = canonical_json(statement.model_copy(update={"authentication": shown}).model_dump(mode="json"))
        return self.store(body.decode(), signer.sign(_signed_bytes(statement.kind, body)), signer.key_id)

    def store(self, body: str, signature: str, key_id: str) -> SignedStatement:
        """Store a statement signed elsewhere.

        Raises:
            StatementRefused: the signature is not the named person's signature of exactly this statement.
        """
        signed = self._read(body, signature, key_id, self.revocations.now())
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
                {
                    "statement": signed.digest,
                    "cancer": statement.cancer,
                    "key_id": key_id,
                    "old": "none",
                    "new": signed.digest,
                    "reason": _reason(statement),
                },
                statement.issued_utc,
            )
        return signed

    def statements(self, model_digest: str) -> list[SignedStatement]:
        """All statements filed under a model, the faulty ones with their problem."""
        return self._found(statements.c.model_digest == model_digest)

    def approved(self, cancer: str) -> list[SignedStatement]:
        """Standing signatures by which persons approved models of `cancer`, oldest first, expired ones included."""
        found = self._found(statements.c.cancer == cancer, statements.c.kind == "approval")
        return [
            signed for signed in found
            if not signed.problem and isinstance(signed.statement, Approval)
            and signed.statement.meaning in ("approval", "responsibility")
        ]  # fmt: skip

    def deciding(self, cancer: str, model_digest: str, now: float) -> list[str]:
        """Digests of the statements in force on which a verdict depends: waivers, amendments, approved changes."""
        return [
            signed.digest
            for signed in self.statements(model_digest)
            if _in_force(signed, cancer, now)
            and (not isinstance(signed.statement, Approval) or signed.statement.rollout_id == CHANGE)
        ]

    def amendments(self, cancer: str, model_digest: str, now: float) -> tuple[Amendment, ...]:
        """Amendments of the policy that verify and are in force at `now` (wall clock, seconds), oldest first."""
        return tuple(self._standing(Amendment, cancer, model_digest, now))

    def _found(self, *conditions: ColumnElement[bool]) -> list[SignedStatement]:
        query = select(statements).where(*conditions).order_by(statements.c.seq)
        with snapshot(self.engine) as connection:
            rows = connection.execute(query).all()
            revoked = self.revocations.read(connection) if rows else Revoked()
        return [self._read_row(row, revoked) for row in rows]

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
                s.name,
                s.role,
                s.meaning,
                s.cancer,
                s.model_digest,
                s.environment,
                s.issued_utc,
                s.expires_utc,
                s.rollout_id,
                s.authentication,
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
            if isinstance(signed.statement, kind) and _in_force(signed, cancer, now)
        ]

    def _read_row(self, row: Row[Any], revoked: Revoked) -> SignedStatement:
        signed = self._read(row.body, row.signature, row.key_id, revoked)
        named = (signed.statement.kind, signed.statement.cancer, signed.statement.model_digest)
        if not signed.problem and named != (row.kind, row.cancer, row.model_digest):
            return SignedStatement(
                signed.statement, signed.digest, row.signature, row.key_id, "it is filed under another model or cancer"
            )
        return signed

    def _read(self, body: str, signature: str, key_id: str, revoked: Revoked) -> SignedStatement:
        statement = _KINDS[json.loads(body)["kind"]].model_validate_json(body)
        digest = sha256_bytes(body.encode())
        problem = ""
        if not self.keys.verify(key_id, _signed_bytes(statement.kind, body.encode()), signature, statement.signed_by):
            problem = f"the signature is not {statement.signed_by}'s signature of this {statement.kind}"
        elif statement.signed_by == PLATFORM:
            problem = "the platform cannot stand in for a person"
        withdrawn = revoked.fault(Kind.KEY, key_id, "the key that signed it")
        problem = problem or withdrawn or revoked.fault(Kind.STATEMENT, digest, "it")
        return SignedStatement(statement, digest, signature, key_id, problem)


def _in_force(signed: SignedStatement, cancer: str, now: float) -> bool:
    statement = signed.statement
    within = utc_seconds(statement.issued_utc) <= now < utc_seconds(statement.expires_utc)
    return not signed.problem and statement.cancer == cancer and within


def _reason(statement: Approval | Waiver | Amendment) -> str:
    if isinstance(statement, Approval):
        return f"{statement.meaning} as {statement.role}, {statement.rollout_id or 'any rollout'}"
    return statement.reason


def _signed_bytes(kind: str, body: bytes) -> bytes:
    return f"{kind}\n".encode() + body
