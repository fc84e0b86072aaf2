"""Approvals and waivers: signed, expiring statements of named persons about exactly one model.

The signature covers the whole statement, so a copy of it under another digest, check or person does not verify
(21 CFR 11.50 and 11.70: printed name, time and meaning; a signature cannot be transferred). Expiry is wall-clock time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from sqlalchemy import Column, Engine, Row, String, select

from clinical_assets.audit.chain import ChainState, HashChain, body_columns, chained_table, snapshot
from clinical_assets.audit.keys import PLATFORM, KeyStore, Signer
from clinical_assets.audit.log import AuditLog
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.foundation.clock import utc_iso
from clinical_assets.gates.facts import SignatureFact, VerifiedApproval, VerifiedWaiver, utc_seconds
from clinical_assets.gates.verdict import Scope

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


class StatementRefused(RuntimeError):
    """No statement of the kind needed stands; the message says what is wrong with each one found, and the remedy."""


class _Statement(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cancer: str
    model_digest: str = Field(pattern="^[0-9a-f]{64}$")
    issued_utc: str
    expires_utc: str

    @field_validator("issued_utc", "expires_utc")
    @classmethod
    def _moment(cls, value: str) -> str:
        utc_seconds(value)
        return value

    @model_validator(mode="after")
    def _expires_later(self) -> _Statement:
        if utc_seconds(self.expires_utc) <= utc_seconds(self.issued_utc):
            raise ValueError(f"expires_utc {self.expires_utc} is not after issued_utc {self.issued_utc}")
        return self


class Approval(_Statement):
    """`name` lets this model act in `environment`, in the given `role` and `meaning`; or only in one rollout."""

    kind: Literal["approval"] = "approval"
    name: str = Field(min_length=1)
    role: str = Field(min_length=1)
    meaning: Literal["review", "approval", "responsibility", "authorship"] = "approval"
    environment: str = Field(min_length=1)
    rollout_id: str | None = None

    @property
    def signed_by(self) -> str:
        return self.name


class Waiver(_Statement):
    """`signer` accepts that one check is inconclusive for this model, up to `scope`, for the stated reason."""

    kind: Literal["waiver"] = "waiver"
    check_id: str = Field(min_length=1)
    scope: Scope
    signer: str = Field(min_length=1)
    reason: str = Field(min_length=10)

    @property
    def signed_by(self) -> str:
        return self.signer


S = TypeVar("S", Approval, Waiver)


@dataclass(frozen=True)
class SignedStatement:
    """`digest` identifies the signed bytes; `problem` is empty when the signature stands."""

    statement: Approval | Waiver
    digest: str
    signature: str
    key_id: str
    problem: str


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
            fault = signed.problem or _approval_fault(approval, cancer, rollout_id, environment, author, now)
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


def lasting(now: float, days: float) -> dict[str, str]:
    """`issued_utc` and `expires_utc` of a statement made now (wall clock, seconds)."""
    return {"issued_utc": utc_iso(now), "expires_utc": utc_iso(now + days * 86_400.0)}


def _approval_fault(approval: Approval, cancer: str, rollout_id: str, environment: str, author: str, now: float) -> str:
    if approval.cancer != cancer:
        return f"it is for cancer type {approval.cancer}"
    if approval.meaning not in ("approval", "responsibility"):
        return f"its meaning is {approval.meaning}, not approval"
    if approval.name == author:
        return "the author cannot approve the own model"
    if approval.environment != environment:
        return f"it is for environment {approval.environment}"
    if approval.rollout_id not in (None, rollout_id):
        return f"it is for rollout {approval.rollout_id}"
    if now < utc_seconds(approval.issued_utc):
        return f"it is not valid before {approval.issued_utc}"
    if now >= utc_seconds(approval.expires_utc):
        return f"it expired on {approval.expires_utc}"
    return ""


def _signed_bytes(kind: str, body: bytes) -> bytes:
    return f"{kind}\n".encode() + body
