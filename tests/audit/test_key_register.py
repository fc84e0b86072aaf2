"""Keys of persons: made, retired, protected, revoked, each step on record; a revoked key takes its signatures along."""

from __future__ import annotations

import stat
from typing import Any

import pytest
from sqlalchemy import Engine

from clinical_assets.audit.key_register import KeyRegister
from clinical_assets.audit.keys import KeyStore, PassphraseError, UnknownKeyError
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.records import RecordStore, Refused
from clinical_assets.audit.revocations import Kind
from clinical_assets.audit.statements import Amendment, Approval, StatementRefused, Waiver, lasting
from clinical_assets.audit.trail import gaps
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import Scope, Verdict

from .releases import MODEL, NOW, issue, reports


@pytest.fixture
def register(sqlite_engine: Engine, keys: KeyStore) -> KeyRegister:
    return KeyRegister(sqlite_engine, keys)


@pytest.fixture
def store(sqlite_engine: Engine, keys: KeyStore) -> RecordStore:
    return RecordStore(sqlite_engine, keys)


def _approval(name: str = "ada") -> Approval:
    fields: dict[str, Any] = {"cancer": "colon", "model_digest": MODEL, "name": name, "role": "oncologist"}
    return Approval(**fields, environment="local", **lasting(NOW, 7))


def _require_approval(store: RecordStore) -> None:
    store.statements.require_approval("colon", MODEL, "colon-0001", "local", "platform", NOW + 1)


def test_a_new_key_is_private_protected_and_on_record(
    register: KeyRegister, keys: KeyStore, store: RecordStore
) -> None:
    signer = register.new("ada", "root", "joins the board", NOW, passphrase="open sesame")
    path = keys.directory / "ada.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    for wrong in (None, "", "sesame"):
        with pytest.raises(PassphraseError):
            keys.signer("ada", passphrase=wrong)
    signed = store.statements.sign(_approval(), keys.signer("ada", passphrase="open sesame"))
    assert signed.statement.authentication == "key and passphrase"
    assert signed.key_id == signer.key_id
    [entry] = AuditLog(store.engine, keys).entries(signer.key_id)
    assert (entry.actor, entry.action, entry.payload["old"], entry.payload["reason"]) == (
        "root", "new_key", "none", "joins the board",
    )  # fmt: skip


def test_a_key_alone_is_said_to_be_one(store: RecordStore, keys: KeyStore) -> None:
    claimed = _approval().model_copy(update={"authentication": "key and passphrase"})
    assert store.statements.sign(claimed, keys.signer("ada")).statement.authentication == "key"


def test_a_printed_name_signs_with_the_key_of_that_name(store: RecordStore, keys: KeyStore) -> None:
    signed = store.statements.sign(_approval("Ada Lovelace"), keys.signer("Ada_Lovelace"))
    assert signed.statement.signed_by == "Ada_Lovelace"
    _require_approval(store)
    with pytest.raises(StatementRefused, match="author cannot approve"):
        store.statements.require_approval("colon", MODEL, "colon-0001", "local", "Ada_Lovelace", NOW + 1)


def test_a_retired_key_signs_no_more_and_what_it_signed_stands(
    register: KeyRegister, keys: KeyStore, store: RecordStore
) -> None:
    old = register.new("ada", "root", "joins", NOW)
    store.statements.sign(_approval(), old)
    with pytest.raises(ValueError, match="has a key already"):
        register.new("ada", "root", "again", NOW)
    new = register.new("ada", "root", "yearly change", NOW, replace=True)
    assert keys.current("ada") == new.key_id != old.key_id
    _require_approval(store)


def test_a_revoked_key_takes_its_signatures_along(register: KeyRegister, keys: KeyStore, store: RecordStore) -> None:
    thief = register.new("ada", "root", "joins", NOW)
    store.statements.sign(_approval(), thief)
    key_id = register.revoke("ada", "root", "laptop stolen", NOW + 1)
    assert not (keys.directory / "ada.key").exists()
    with pytest.raises(StatementRefused, match="key that signed it was revoked"):
        _require_approval(store)
    with pytest.raises(StatementRefused, match="was revoked"):
        store.statements.sign(_approval(), thief)
    assert {key.info.key_id: key.revoked != "" for key in register.listed()}[key_id]
    assert gaps(store.engine) == ()
    register.new("ada", "root", "a new laptop", NOW + 2)
    store.statements.sign(_approval(), keys.signer("ada"))
    _require_approval(store)


def test_the_platforms_own_key_can_be_revoked_and_its_records_have_to_be_made_anew(
    register: KeyRegister, keys: KeyStore, store: RecordStore
) -> None:
    issue(store)
    old = keys.current("platform")
    with pytest.raises(ValueError, match="by its identity"):
        register.revoke("platform", "root", "leaked", NOW + 1)
    register.revoke(old, "root", "leaked", NOW + 1)
    assert keys.current("platform") != old
    with pytest.raises(Refused, match="key that signed its decision record was revoked"):
        store.require(MODEL, "colon", Scope.SHADOW, NOW + 2)
    issue(store, now=NOW + 2)
    store.require(MODEL, "colon", Scope.TRAFFIC, NOW + 3)
    assert AuditLog(store.engine, keys).verify_chain().ok


def test_an_unknown_key_cannot_be_revoked(register: KeyRegister) -> None:
    with pytest.raises(UnknownKeyError, match="keys list"):
        register.revoke("0" * 32, "root", "typo", NOW)


def test_single_signatures_and_records_can_be_withdrawn(store: RecordStore, keys: KeyStore) -> None:
    signed = issue(store, reports=reports({"RG8": Verdict.INCONCLUSIVE}))
    fields = {"cancer": "colon", "model_digest": MODEL, "check_id": "RG8", "signer": "ada", "reason": "seen on paper"}
    waiver = store.statements.sign(Waiver(**fields, scope=Scope.TRAFFIC, **lasting(NOW, 7)), keys.signer("ada"))
    store.require(MODEL, "colon", Scope.TRAFFIC, NOW + 1)
    [(kind, digest, cancer)] = store.named(waiver.digest[:12])
    store.revocations.add(kind, digest, "signed by mistake", "ada", NOW + 2, cancer)
    with pytest.raises(Refused, match="RG8 is inconclusive"):
        store.require(MODEL, "colon", Scope.SHADOW, NOW + 3)
    store.revocations.add(Kind.RECORD, signed.digest, "wrong cohort", "ada", NOW + 4)
    with pytest.raises(Refused, match="its decision record was revoked"):
        store.require(MODEL, "colon", Scope.NONE, NOW + 5)
    issue(store, now=NOW + 6)
    store.require(MODEL, "colon", Scope.TRAFFIC, NOW + 7)
    assert gaps(store.engine) == ()


def test_an_amendment_is_signed_expires_and_can_be_withdrawn(store: RecordStore, keys: KeyStore) -> None:
    policy = GatePolicy()
    fields: dict[str, Any] = {"cancer": "colon", "model_digest": MODEL, "signer": "ada", "old_digest": "0" * 64}
    amendment = Amendment(**fields, reason="a unit was wrong", policy=policy.content, **lasting(NOW, 7))
    signed = store.statements.sign(amendment, keys.signer("ada"))
    [stood] = store.statements.amendments("colon", MODEL, NOW + 1)
    assert (stood.new_digest, stood.signer) == (policy.digest, "ada")
    assert store.statements.amendments("colon", MODEL, NOW + 8 * 86_400) == ()
    store.revocations.add(Kind.STATEMENT, signed.digest, "not mine to decide", "ada", NOW + 2, "colon")
    assert store.statements.amendments("colon", MODEL, NOW + 3) == ()
