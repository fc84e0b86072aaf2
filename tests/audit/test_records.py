"""Nothing acts without a record on exactly that model: every way in which a record can be wrong is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, select, text

from clinical_assets.audit.chain import HashChain
from clinical_assets.audit.decision import DecisionRecord
from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.records import RecordStore, Refused, records
from clinical_assets.audit.statements import Waiver, lasting
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.foundation.clock import utc_iso
from clinical_assets.gates.verdict import CheckResult, GateName, Scope, Tier, Verdict

from .releases import DAY, MODEL, NOW, OTHER, issue, reports


@pytest.fixture
def store(engine: Engine, keys: KeyStore) -> RecordStore:
    return RecordStore(engine, keys)


@pytest.fixture
def local_store(sqlite_engine: Engine, keys: KeyStore) -> RecordStore:
    return RecordStore(sqlite_engine, keys)


@contextmanager
def _unprotected(engine: Engine) -> Iterator[Connection]:
    """A connection of somebody who can write the database and has removed its guards."""
    with engine.begin() as connection:
        for suffix in ("no_update", "no_delete", "at_end"):
            connection.execute(text(f"DROP TRIGGER IF EXISTS records_{suffix}"))
        yield connection


def _refusal(store: RecordStore, needed: Scope = Scope.SHADOW, model: str = MODEL, **at: Any) -> str:
    with pytest.raises(Refused) as refused:
        store.require(model, at.get("cancer", "colon"), needed, at.get("now", NOW + 1))
    return str(refused.value)


def _forge(store: RecordStore, keys: KeyStore, signer: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Store a changed copy of a good record, signed by `signer`, in a chain that is itself intact."""
    good = issue(store).record.model_dump(mode="json")
    platform = keys.signer("platform")
    chain = HashChain(records)
    with store.engine.begin() as connection:
        content = good | {"previous": chain.head(connection)}
        change(content)
        body = canonical_json(content)
        row = {
            "kind": "decision",
            "cancer": "colon",
            "model_digest": MODEL,
            "key_id": keys.signer(signer).key_id,
            "signature": keys.signer(signer).sign(b"decision\n" + body),
            "recorded_utc": utc_iso(NOW),
            "body": body.decode(),
        }
        chain.append(connection, [row], platform, utc_iso(NOW))


def test_five_passing_gates_grant_traffic(store: RecordStore) -> None:
    signed = issue(store)
    required = store.require(MODEL, "colon", Scope.TRAFFIC, NOW + 1)
    assert required == signed
    assert required.digest == sha256_bytes(required.record.canonical())
    assert store.find(MODEL) == signed
    assert store.verify_chain().ok


def test_records_follow_one_another(store: RecordStore) -> None:
    issue(store)
    second = issue(store, model_digest=OTHER, reports=reports(model_digest=OTHER))
    with store.engine.connect() as connection:
        first_hash = connection.execute(select(records.c.entry_hash).where(records.c.seq == 1)).scalar_one()
    assert second.record.previous == first_hash


def test_a_model_without_record_is_refused(store: RecordStore) -> None:
    issue(store)
    assert "no decision record" in _refusal(store, model=OTHER)


@pytest.mark.parametrize("gate", list(GateName))
def test_a_missing_gate_is_refused(local_store: RecordStore, gate: GateName) -> None:
    issue(local_store, reports=[report for report in reports() if report.gate is not gate])
    assert f"no report of gate {gate.value}" in _refusal(local_store)


@pytest.mark.parametrize("verdict", [Verdict.BLOCK, Verdict.ERROR])
@pytest.mark.parametrize("check", ["DQ1", "MP9", "BI2", "RG8", "SE1"])
def test_a_blocking_or_crashed_check_grants_nothing(local_store: RecordStore, check: str, verdict: Verdict) -> None:
    issue(local_store, reports=reports({check: verdict}))
    assert f"{check} {verdict.value}" in _refusal(local_store)


def test_a_gate_without_checks_grants_nothing(local_store: RecordStore) -> None:
    issue(local_store, reports=[report.model_copy(update={"checks": ()}) for report in reports()])
    assert "the bias gate ran or required no check" in _refusal(local_store)


def test_a_required_check_that_did_not_run_grants_nothing(local_store: RecordStore) -> None:
    issue(
        local_store, reports=[report.model_copy(update={"required": (*report.required, "XX1")}) for report in reports()]
    )
    assert "XX1 did not run" in _refusal(local_store)


def test_inconclusive_non_inferiority_grants_shadow_only(store: RecordStore) -> None:
    issue(store, reports=reports({"MP9": Verdict.INCONCLUSIVE}))
    assert store.require(MODEL, "colon", Scope.SHADOW, NOW + 1).scope is Scope.SHADOW
    assert "grants shadow, traffic is needed (MP9" in _refusal(store, Scope.TRAFFIC)


def test_a_waiver_widens_the_scope_up_to_its_own_and_until_it_expires(store: RecordStore, keys: KeyStore) -> None:
    issue(store, reports=reports({"RG8": Verdict.INCONCLUSIVE}))
    _refusal(store)
    waiver = {
        "cancer": "colon",
        "model_digest": MODEL,
        "check_id": "RG8",
        "signer": "dr_grey",
        "reason": "seen on paper",
    }
    for model in (OTHER, MODEL):
        fields = waiver | {"model_digest": model, "scope": Scope.SHADOW} | lasting(NOW, 10)
        if model == MODEL:
            _refusal(store)  # the waiver of another model does not help
        store.statements.sign(Waiver(**fields), keys.signer("dr_grey"))
    assert store.require(MODEL, "colon", Scope.SHADOW, NOW + DAY).scope is Scope.SHADOW
    _refusal(store, Scope.TRAFFIC, now=NOW + DAY)
    _refusal(store, now=NOW + 10 * DAY)


def test_another_cancer_type_is_refused(store: RecordStore) -> None:
    issue(store)
    assert "is for cancer type colon" in _refusal(store, cancer="breast")


@pytest.mark.parametrize("now", [NOW + 90 * DAY, NOW + 1000 * DAY, NOW - DAY])
def test_outside_its_validity_a_record_is_refused(store: RecordStore, now: float) -> None:
    issue(store)
    store.require(MODEL, "colon", Scope.TRAFFIC, NOW + 90 * DAY - 1)
    assert "is valid from" in _refusal(store, now=now)


def test_a_revoked_model_stays_revoked(store: RecordStore, keys: KeyStore) -> None:
    issue(store)
    store.revoke(MODEL, "wrong cohort", "alice", NOW + 1)
    assert "revoked" in _refusal(store, now=NOW + 2)
    issue(store, now=NOW + 3)
    assert "revoked" in _refusal(store, now=NOW + 4)
    assert store.verify_chain().ok
    log = AuditLog(store.engine, keys)
    assert [e.action for e in log.entries(MODEL)] == ["issue_decision_record", "revoke_model", "issue_decision_record"]
    assert log.verify_chain().ok


def test_an_unknown_model_cannot_be_revoked(local_store: RecordStore) -> None:
    with pytest.raises(Refused, match="no decision record to revoke"):
        local_store.revoke(MODEL, "typo", "alice", NOW)


def test_the_latest_record_counts(store: RecordStore) -> None:
    issue(store)
    issue(store, reports=reports({"SE1": Verdict.BLOCK}), now=NOW + 1)
    assert "SE1 BLOCK" in _refusal(store, now=NOW + 2)


def test_an_altered_body_is_refused(local_store: RecordStore) -> None:
    issue(local_store, reports=reports({"SE1": Verdict.BLOCK}))
    with _unprotected(local_store.engine) as connection:
        connection.execute(text("""UPDATE records SET body = replace(body, '"BLOCK"', '"PASS"')"""))
    assert "was altered" in _refusal(local_store)


def test_an_altered_body_with_recomputed_digests_breaks_the_chain(local_store: RecordStore) -> None:
    issue(local_store, reports=reports({"SE1": Verdict.BLOCK}))
    with _unprotected(local_store.engine) as connection:
        body = connection.execute(select(records.c.body)).scalar_one().replace('"BLOCK"', '"PASS"')
        connection.execute(records.update().values(body=body, body_sha256=sha256_bytes(body.encode())))
    assert "chain of decision records is broken" in _refusal(local_store)


def test_a_removed_revocation_breaks_the_chain(local_store: RecordStore) -> None:
    issue(local_store)
    local_store.revoke(MODEL, "wrong cohort", "alice", NOW + 1)
    with _unprotected(local_store.engine) as connection:
        connection.execute(records.delete().where(records.c.kind == "revocation"))
    assert "chain of decision records is broken" in _refusal(local_store, now=NOW + 2)


def test_a_good_copy_stored_unchanged_is_accepted(local_store: RecordStore, keys: KeyStore) -> None:
    _forge(local_store, keys, "platform", lambda content: None)
    assert local_store.require(MODEL, "colon", Scope.TRAFFIC, NOW + 1).record.model_digest == MODEL


def test_a_record_signed_by_a_person_is_refused(local_store: RecordStore, keys: KeyStore) -> None:
    _forge(local_store, keys, "mallory", lambda content: None)
    assert "no valid platform signature" in _refusal(local_store)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model_digest": OTHER}, "filed under a model or place"),
        ({"cancer": "breast"}, "filed under a model or place"),
        ({"previous": "0" * 64}, "filed under a model or place"),
        ({"policy_digest": "laxer"}, "another model, cancer type or policy"),
        ({"extra": 1}, "cannot be read"),
    ],
)
def test_a_record_that_contradicts_its_place_is_refused(
    local_store: RecordStore, keys: KeyStore, change: dict[str, Any], reason: str
) -> None:
    _forge(local_store, keys, "platform", lambda content: content.update(change))
    assert reason in _refusal(local_store)


def test_the_reports_of_another_model_are_refused(local_store: RecordStore) -> None:
    issue(local_store, reports=reports(model_digest=OTHER))
    assert "judged another model" in _refusal(local_store)


def test_a_report_filed_under_another_gate_is_refused(local_store: RecordStore, keys: KeyStore) -> None:
    def swap(content: dict[str, Any]) -> None:
        content["reports"]["bias"] = content["reports"]["security"]

    _forge(local_store, keys, "platform", swap)
    assert "the bias report judged another" in _refusal(local_store)


def test_the_scope_field_is_not_trusted(local_store: RecordStore, keys: KeyStore) -> None:
    def flatter(content: dict[str, Any]) -> None:
        content["reports"]["security"]["checks"][0]["verdict"] = "BLOCK"
        content["scope"] = "traffic"

    _forge(local_store, keys, "platform", flatter)
    assert "grants none" in _refusal(local_store)


def test_a_number_that_is_not_finite_is_named(local_store: RecordStore) -> None:
    check = CheckResult(id="MP9", title="t", verdict=Verdict.PASS, metric="m", value=math.nan)
    bad = [r.model_copy(update={"checks": (check,)}) if r.gate is GateName.PERFORMANCE else r for r in reports()]
    with pytest.raises(ValueError, match="gate performance, check MP9"):
        issue(local_store, reports=bad)
    assert local_store.find(MODEL) is None


def test_two_reports_of_one_gate_are_refused(local_store: RecordStore) -> None:
    with pytest.raises(ValueError, match="more than one report"):
        issue(local_store, reports=[*reports(), reports()[0]])


def test_a_record_survives_json(local_store: RecordStore) -> None:
    signed = issue(local_store, tier=Tier.RESEARCH)
    again = DecisionRecord.model_validate(json.loads(signed.record.canonical()))
    assert again == signed.record
    assert again.canonical() == signed.record.canonical()


def test_a_reader_needs_only_public_keys(local_store: RecordStore, keys: KeyStore) -> None:
    issue(local_store)
    (keys.directory / "platform.key").unlink()
    RecordStore(local_store.engine, KeyStore(keys.directory)).require(MODEL, "colon", Scope.TRAFFIC, NOW + 1)
    assert not (keys.directory / "platform.key").exists()


def test_the_first_model_that_was_granted_traffic_is_found(store: RecordStore) -> None:
    issue(store, model_digest=OTHER, reports=reports({"MP9": Verdict.INCONCLUSIVE}, model_digest=OTHER))
    assert store.first_granted("colon", Scope.TRAFFIC) is None
    first = issue(store)
    issue(store, model_digest=OTHER, reports=reports(model_digest=OTHER))
    found = store.first_granted("colon", Scope.TRAFFIC)
    assert found is not None
    assert found.digest == first.digest
    assert store.first_granted("breast", Scope.TRAFFIC) is None
    shadow = store.first_granted("colon", Scope.SHADOW)
    assert shadow is not None
    assert shadow.record.model_digest == OTHER


def test_a_revoked_model_is_no_first_model(store: RecordStore) -> None:
    issue(store)
    issue(store, model_digest=OTHER, reports=reports(model_digest=OTHER))
    store.revoke(MODEL, "withdrawn", "qa", NOW + 1)
    found = store.first_granted("colon", Scope.TRAFFIC)
    assert found is not None
    assert found.record.model_digest == OTHER


def test_a_first_record_that_the_platform_did_not_sign_is_refused(local_store: RecordStore, keys: KeyStore) -> None:
    _forge(local_store, keys, "mallory", lambda content: None)
    with _unprotected(local_store.engine) as connection:
        connection.execute(text("DELETE FROM records WHERE seq = 1"))
    with pytest.raises(Refused, match="no valid platform signature"):
        local_store.first_granted("colon", Scope.TRAFFIC)
