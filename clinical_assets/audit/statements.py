"""Approvals, waivers, amendments: signed, expiring statements of named persons about exactly one model.

The signature covers the whole statement, so a copy of it under another digest, check or person does not verify
(21 CFR 11.50 and 11.70: printed name, time and meaning; a signature cannot be transferred). Expiry is wall-clock time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.foundation.clock import SECONDS_PER_DAY, utc_iso
from clinical_assets.gates.facts import utc_seconds
from clinical_assets.gates.verdict import Scope


class StatementRefused(RuntimeError):
    """No statement of the kind needed stands; the message says what is wrong with each one found, and the remedy."""


Authentication = Literal["key", "key and passphrase"]
"""What the signer showed: the private key alone, or a passphrase too (21 CFR 11.200: two components)."""


def key_name(person: str) -> str:
    """Name of the key with which a person signs: the printed name, spaces as underscores."""
    return "_".join(person.split())


class _Statement(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cancer: str
    authentication: Authentication = "key"
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
        return key_name(self.name)


class Waiver(_Statement):
    """`signer` accepts that one check is inconclusive for this model, up to `scope`, for the stated reason."""

    kind: Literal["waiver"] = "waiver"
    check_id: str = Field(min_length=1)
    scope: Scope
    signer: str = Field(min_length=1)
    reason: str = Field(min_length=10)

    @property
    def signed_by(self) -> str:
        return key_name(self.signer)


class Amendment(_Statement):
    """`signer` answers for judging this model by `policy`, not by the one fixed before its test split was opened.

    `policy` is `GatePolicy.content`; `old_digest` the policy that it replaces.
    """

    kind: Literal["amendment"] = "amendment"
    signer: str = Field(min_length=1)
    reason: str = Field(min_length=10)
    old_digest: str = Field(min_length=1)
    policy: dict[str, Any]

    @property
    def signed_by(self) -> str:
        return key_name(self.signer)

    @property
    def new_digest(self) -> str:
        return sha256_json(self.policy)


@dataclass(frozen=True)
class SignedStatement:
    """`digest` identifies the signed bytes; `problem` is empty when the signature stands."""

    statement: Approval | Waiver | Amendment
    digest: str
    signature: str
    key_id: str
    problem: str


def lasting(now: float, days: float) -> dict[str, str]:
    """`issued_utc` and `expires_utc` of a statement made now (wall clock, seconds)."""
    return {"issued_utc": utc_iso(now), "expires_utc": utc_iso(now + days * SECONDS_PER_DAY)}


def approval_fault(approval: Approval, cancer: str, rollout_id: str, environment: str, author: str, now: float) -> str:
    """Why the approval does not cover this; empty when it does. `now`: wall clock, seconds."""
    if approval.cancer != cancer:
        return f"it is for cancer type {approval.cancer}"
    if approval.meaning not in ("approval", "responsibility"):
        return f"its meaning is {approval.meaning}, not approval"
    if author in (approval.name, approval.signed_by):
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
