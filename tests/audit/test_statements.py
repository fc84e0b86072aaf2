from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Engine, text

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.statement_store import StatementStore
from clinical_assets.audit.statements import Approval, StatementRefused, Waiver, lasting
from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.gates.verdict import Scope

from .releases import DAY, MODEL, NOW, OTHER


@pytest.fixture
def store(engine: Engine, keys: KeyStore) -> StatementStore:
    return StatementStore(engine, keys)


def _approval(**changes: Any) -> Approval:
    fields = {"cancer": "colon", "model_digest": MODEL, "name": "alice", "role": "oncologist", "environment": "local"}
    return Approval(**fields | {"rollout_id": "colon-0001"} | lasting(NOW, 7) | changes)


def _waiver(**changes: Any) -> Waiver:
    fields = {"cancer": "colon", "model_digest": MODEL, "check_id": "DQ17", "signer": "alice", "scope": Scope.SHADOW}
    return Waiver(**fields | {"reason": "the cohort is all there is"} | lasting(NOW, 7) | changes)


def _required(store: StatementStore, **changes: Any) -> Any:
    asked = {"cancer": "colon", "model_digest": MODEL, "rollout_id": "colon-0001", "environment": "local"}
    return store.require_approval(**asked | {"author": "trainer", "now": NOW + 1} | changes)


def test_an_approval_by_another_person_stands(store: StatementStore, keys: KeyStore) -> None:
    signed = store.sign(_approval(), keys.signer("alice"))
    assert _required(store) == signed
    [fact] = store.approvals("colon", MODEL, NOW + 1)
    assert (fact.name, fact.role, fact.meaning) == ("alice", "oncologist", "approval")
    [entry] = AuditLog(store.engine, keys).entries(MODEL)
    assert (entry.actor, entry.action) == ("alice", "sign_approval")


def test_an_approval_without_rollout_holds_for_any(store: StatementStore, keys: KeyStore) -> None:
    signed = store.sign(_approval(rollout_id=None), keys.signer("alice"))
    assert _required(store, rollout_id="colon-0009") == signed


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"author": "alice"}, "author cannot approve"),
        ({"now": NOW + 7 * DAY}, "expired"),
        ({"now": NOW - 1}, "not valid before"),
        ({"model_digest": OTHER}, "none was signed"),
        ({"cancer": "breast"}, "for cancer type colon"),
        ({"environment": "kubernetes"}, "for environment local"),
        ({"rollout_id": "colon-0002"}, "for rollout colon-0001"),
    ],
)
def test_an_approval_holds_only_for_what_it_says(
    store: StatementStore, keys: KeyStore, asked: dict[str, Any], reason: str
) -> None:
    store.sign(_approval(), keys.signer("alice"))
    with pytest.raises(StatementRefused, match=reason):
        _required(store, **asked)


def test_a_review_is_not_an_approval(store: StatementStore, keys: KeyStore) -> None:
    store.sign(_approval(meaning="review"), keys.signer("alice"))
    with pytest.raises(StatementRefused, match="meaning is review"):
        _required(store)


def test_nobody_signs_in_anothers_name(store: StatementStore, keys: KeyStore) -> None:
    with pytest.raises(StatementRefused, match="own name"):
        store.sign(_approval(), keys.signer("trainer"))
    with pytest.raises(StatementRefused, match="own name"):
        store.sign(_approval(name="platform"), keys.signer("platform"))


def test_the_platform_cannot_approve(store: StatementStore, keys: KeyStore) -> None:
    body = canonical_json(_approval(name="platform").model_dump(mode="json"))
    platform = keys.signer("platform")
    with pytest.raises(StatementRefused, match="cannot stand in for a person"):
        store.store(body.decode(), platform.sign(b"approval\n" + body), platform.key_id)


@pytest.mark.parametrize("change", [{"model_digest": OTHER}, {"cancer": "breast"}, {"name": "bob"}, {"role": "head"}])
def test_a_copied_signature_is_rejected(store: StatementStore, keys: KeyStore, change: dict[str, Any]) -> None:
    signed = store.sign(_approval(), keys.signer("alice"))
    keys.signer("bob")
    forged = canonical_json(_approval(**change).model_dump(mode="json")).decode()
    with pytest.raises(StatementRefused, match="signature is not"):
        store.store(forged, signed.signature, signed.key_id)


def test_a_waivers_signature_does_not_serve_an_approval(store: StatementStore, keys: KeyStore) -> None:
    signed = store.sign(_waiver(), keys.signer("alice"))
    body = canonical_json(_approval().model_dump(mode="json")).decode()
    with pytest.raises(StatementRefused, match="signature is not"):
        store.store(body, signed.signature, signed.key_id)


def test_a_statement_copied_in_the_database_under_another_model_counts_for_neither(
    sqlite_engine: Engine, keys: KeyStore
) -> None:
    store = StatementStore(sqlite_engine, keys)
    store.sign(_approval(), keys.signer("alice"))
    store.sign(_waiver(), keys.signer("alice"))
    columns = "cancer, signer, key_id, signature, recorded_utc, body, body_sha256, previous, entry_hash"
    with sqlite_engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO statements (seq, kind, model_digest, {columns}) "
                f"SELECT seq + 2, kind, '{OTHER}', {columns} FROM statements"
            )
        )
    assert store.waivers("colon", OTHER, NOW + 1) == ()
    assert {s.problem for s in store.statements(OTHER)} == {"it is filed under another model or cancer"}
    with pytest.raises(StatementRefused, match="filed under another"):
        _required(store, model_digest=OTHER)
    with pytest.raises(StatementRefused, match="statements row 3"):
        _required(store)


def test_waivers_are_facts_for_the_gates_while_in_force(store: StatementStore, keys: KeyStore) -> None:
    store.sign(_waiver(), keys.signer("alice"))
    [waiver] = store.waivers("colon", MODEL, NOW)
    assert (waiver.check_id, waiver.scope, waiver.signer) == ("DQ17", Scope.SHADOW, "alice")
    assert store.waivers("colon", MODEL, NOW + 7 * DAY) == ()
    assert store.waivers("breast", MODEL, NOW) == ()
    [fact] = store.signature_facts(MODEL)
    assert (fact.kind, fact.signer, fact.verified, fact.problem) == ("waiver", "alice", True, "")


def test_a_statement_whose_key_was_lost_no_longer_counts(store: StatementStore, keys: KeyStore) -> None:
    signed = store.sign(_waiver(), keys.signer("alice"))
    (keys.directory / f"alice.{signed.key_id}.pub").unlink()
    assert store.waivers("colon", MODEL, NOW) == ()
    assert not store.signature_facts(MODEL)[0].verified


@pytest.mark.parametrize(
    "change", [{"expires_utc": "2020-01-01T00:00:00+00:00"}, {"expires_utc": "2099-01-01"}, {"reason": "no"}]
)
def test_statements_need_a_reason_and_a_future_expiry_with_offset(change: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        _waiver(**change)
