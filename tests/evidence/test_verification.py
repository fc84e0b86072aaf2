"""A bundle holds offline and with a public key alone; whatever is changed in it shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from clinical_assets.audit.keys import PLATFORM, KeyStore
from clinical_assets.audit.record_table import signed_bytes
from clinical_assets.audit.revocations import Kind
from clinical_assets.evidence.bundle import Files, sealed, write_folder, zipped
from clinical_assets.evidence.reading import Refused
from clinical_assets.evidence.verification import Verification, verify
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.gates.verdict import GateName, Scope
from tests.evidence.bundles import NOW, OTHER, Platform, bundle, platform

DAY = 86_400.0
KINDS = [
    "README.txt", "audit/log.json", "audit/seal.json", "card.json", "keys/artifacts.", "keys/j-doe.",
    "keys/platform.", "lineage.json", "manifest.json", "manifest.signature.json", "metrics.json",
    "model/signature.json", "plots/calibration.svg", "plots/decision-curve.svg", "plots/discrimination.svg",
    "plots/drift.svg", "plots/risk-groups.svg", "plots/row-flow.svg", "plots/subgroups.svg",
    "records/decision.json", "records/decision.signature.json", "report.html",
    "statements/approval-000001.json", "statements/approval-000001.signature.json", "tables/cohort.json",
    "tables/row_flow.json", "tables/subgroups.json",
]  # fmt: skip
"""Every file of a bundle; those of keys by how their names begin."""


def named(kind: str) -> str:
    return next(name for name in bundle() if name.startswith(kind))


def checked(files: Files, path: Path, key: tuple[str, bytes] | None = None, now: float = NOW + 60) -> Verification:
    return verify(write_folder(files, path / "bundle"), key or platform().public_key, now)


def faulty(found: Verification) -> dict[str, str]:
    return {step.title: "; ".join(step.faults) for step in found.steps if step.faults}


def changed(change: Callable[[dict[str, bytes]], None]) -> Files:
    """The bundle with one change, its manifest made and signed anew: what a forger with the platform's key could do."""
    files = {name: data for name, data in bundle().items() if not name.startswith("manifest.")}
    change(files)
    whole = platform()
    return sealed(files, whole.signed.record, whole.signed.digest, whole.keys.signer(PLATFORM))


def edited(name: str, old: str, new: str) -> Files:
    def edit(files: dict[str, bytes]) -> None:
        text = files[name].decode()
        assert old in text
        files[name] = text.replace(old, new).encode()

    return changed(edit)


class TestAWholeBundle:
    def test_holds_as_folder_and_as_zip(self, tmp_path: Path) -> None:
        assert not faulty(checked(bundle(), tmp_path))
        (tmp_path / "bundle.zip").write_bytes(zipped(bundle()))
        found = verify(tmp_path / "bundle.zip", platform().public_key, NOW + 60)
        assert found.ok
        assert found.trusted

    def test_without_a_key_of_the_readers_it_only_agrees_with_itself(self, tmp_path: Path) -> None:
        found = verify(write_folder(bundle(), tmp_path / "bundle"), None, NOW + 60)
        assert found.ok
        assert not found.trusted

    def test_made_again_it_has_the_same_bytes(self) -> None:
        again = platform().bundle()
        assert again == bundle()
        assert zipped(again) == zipped(bundle())

    def test_of_a_label_holds_too(self, tmp_path: Path) -> None:
        found = checked(bundle("breast_fna"), tmp_path, platform("breast_fna").public_key)
        assert not faulty(found)

    def test_the_seal_is_a_witness_for_the_owner_of_the_log(self) -> None:
        from clinical_assets.audit.log import AuditLog
        from clinical_assets.audit.seals import Seal

        whole = platform()
        log = AuditLog(whole.engine, whole.keys)
        seal = Seal.from_json(bundle()["audit/seal.json"])
        assert log.verify_chain(witness=seal).ok
        forged = Seal.from_json(json.dumps({**vars(seal), "head": "0" * 64}).encode())
        assert not log.verify_chain(witness=forged).ok

    def test_holds_nothing_about_the_content_of_other_models_entries(self) -> None:
        rows = json.loads(bundle()["audit/log.json"])["rows"]
        assert [row["subject"] == OTHER for row in rows] == [False, True, False, False]
        assert ["body" in row for row in rows] == [True, False, True, True]


class TestTampering:
    def test_every_file_is_tampered_with_below(self) -> None:
        assert sorted(map(named, KINDS)) == sorted(bundle())

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_changed_file_is_noticed(self, kind: str, tmp_path: Path) -> None:
        name = named(kind)
        data = bytearray(bundle()[name])
        data[len(data) // 2] ^= 1
        assert not checked({**bundle(), name: bytes(data)}, tmp_path).ok

    @pytest.mark.parametrize("kind", KINDS)
    def test_a_missing_file_is_noticed(self, kind: str, tmp_path: Path) -> None:
        name = named(kind)
        files = {key: data for key, data in bundle().items() if key != name}
        if name == "manifest.json":
            with pytest.raises(Refused, match="not an evidence bundle"):
                checked(files, tmp_path)
        else:
            assert not checked(files, tmp_path).ok

    def test_an_added_file_is_noticed(self, tmp_path: Path) -> None:
        found = checked({**bundle(), "notes.txt": b"all is well"}, tmp_path)
        assert faulty(found) == {"files complete and unchanged": "notes.txt is not listed: it was added"}

    def test_another_platforms_bundle_does_not_pass_for_ours(self, tmp_path: Path) -> None:
        stranger = KeyStore(tmp_path / "keys")
        stranger.signer(PLATFORM)
        path = next((tmp_path / "keys").glob("platform.*.pub"))
        assert "manifest signed" in faulty(checked(bundle(), tmp_path, (path.name, path.read_bytes())))


class TestAForgerWithThePlatformsKey:
    """Digests and the manifest's signature hold; what was signed before still shows the change."""

    def test_cannot_change_the_record(self, tmp_path: Path) -> None:
        forged = edited("records/decision.json", '"verdict":"WARN"', '"verdict":"PASS"')
        assert "signature is not that" in faulty(checked(forged, tmp_path))["decision record"]

    def test_cannot_put_another_name_on_an_approval(self, tmp_path: Path) -> None:
        found = faulty(checked(edited("statements/approval-000001.json", "j-doe", "k-roe"), tmp_path))
        assert "signature is not that of whom it names" in found["approvals and waivers"]

    def test_cannot_drop_an_audit_entry(self, tmp_path: Path) -> None:
        def drop(files: dict[str, bytes]) -> None:
            log = json.loads(files["audit/log.json"])
            del log["rows"][1]
            files["audit/log.json"] = json.dumps(log).encode()

        assert "one was removed or added" in faulty(checked(changed(drop), tmp_path))["audit trail"]

    def test_cannot_shorten_the_audit_trail(self, tmp_path: Path) -> None:
        def cut(files: dict[str, bytes]) -> None:
            log = json.loads(files["audit/log.json"])
            log["rows"] = log["rows"][:-1]
            files["audit/log.json"] = json.dumps(log).encode()

        assert "seal of the last row" in faulty(checked(changed(cut), tmp_path))["audit trail"]

    def test_cannot_leave_the_model_signature_out(self, tmp_path: Path) -> None:
        forged = changed(lambda files: files.pop("model/signature.json") and None)
        assert "model signature" in faulty(checked(forged, tmp_path))


class TestNumbers:
    def test_a_card_with_a_better_number_is_an_error(self, tmp_path: Path) -> None:
        value = json.loads(bundle()["card.json"])["performance"][0]["value"]["value"]
        found = faulty(checked(edited("card.json", f'"value": {value!r}', f'"value": {value + 0.05!r}'), tmp_path))
        assert "card.json/performance/0/value: says" in found["model card"]

    def test_a_number_that_cites_nothing_is_an_error(self, tmp_path: Path) -> None:
        found = faulty(checked(edited("card.json", '"status": "', '"accuracy": 0.99,\n"status": "'), tmp_path))
        assert "/data/accuracy: a number without its evidence" in found["model card"]

    def test_a_report_that_shows_another_number_is_an_error(self, tmp_path: Path) -> None:
        text = bundle()["report.html"].decode()
        shown = text.split('metrics.json#/observed_risk/value">')[1].split("<")[0]
        forged = edited("report.html", f'observed_risk/value">{shown}<', f'observed_risk/value">{int(shown) - 20}<')
        assert "metrics.json#/observed_risk/value: shows" in faulty(checked(forged, tmp_path))["report"]

    def test_a_card_about_a_wider_scope_is_an_error(self, tmp_path: Path) -> None:
        scope = platform().signed.record.scope
        wider = "none" if scope == "traffic" else "traffic"
        found = faulty(checked(edited("card.json", f'"grants": "{scope}"', f'"grants": "{wider}"'), tmp_path))
        assert "scope" in found["model card"]

    def test_a_small_count_is_an_error(self, tmp_path: Path) -> None:
        def uncover(files: dict[str, bytes]) -> None:
            table = json.loads(files["tables/subgroups.json"])
            table["rows"][0]["n"] = 7
            files["tables/subgroups.json"] = json.dumps(table).encode()

        assert "tables/subgroups.json#/rows/n" in faulty(checked(changed(uncover), tmp_path))["small counts hidden"]


class TestTime:
    def test_an_expired_record_is_said(self, tmp_path: Path) -> None:
        assert "EXPIRED" in faulty(checked(bundle(), tmp_path, now=NOW + 91 * DAY))["in force"]

    def test_a_record_of_the_future_is_said(self, tmp_path: Path) -> None:
        assert "not valid before" in faulty(checked(bundle(), tmp_path, now=NOW - DAY))["in force"]

    def test_a_revoked_model_is_said(self, tmp_path: Path) -> None:
        whole = Platform("lung_advanced")
        whole.records.revoke(whole.facts.model_digest, "unexpected scores", "j-doe", NOW + DAY)
        found = faulty(checked(whole.bundle(), tmp_path, whole.public_key, now=NOW + 2 * DAY))
        assert "REVOKED" in found["in force"]
        assert "unexpected scores" in found["in force"]

    def test_a_revoked_approval_is_said(self, tmp_path: Path) -> None:
        whole = Platform("lung_advanced")
        approval = whole.records.statements.statements(whole.facts.model_digest)[0]
        whole.records.revocations.add(Kind.STATEMENT, approval.digest, "signed in haste", "j-doe", NOW + DAY)
        whole.records.revocations.add(Kind.KEY, "0" * 32, "another person's key", "j-doe", NOW + DAY)
        found = faulty(checked(whole.bundle(), tmp_path, whole.public_key, now=NOW + 2 * DAY))
        assert list(found) == ["in force"]
        assert "signed in haste" in found["in force"]
        assert "another person" not in str(found)


def test_a_record_that_claims_more_than_its_reports_grant_is_an_error(tmp_path: Path) -> None:
    """Signed anew with the platform's key, so that only the content betrays it."""
    whole = platform()
    record = whole.signed.record
    assert record.scope is Scope.NONE
    wider = record.model_copy(update={"scope": Scope.TRAFFIC}).canonical()
    signer = whole.keys.signer(PLATFORM)

    def widen(files: dict[str, bytes]) -> None:
        row = json.loads(files["records/decision.signature.json"])
        row |= {"body_sha256": sha256_bytes(wider), "signature": signer.sign(signed_bytes("decision", wider))}
        del row["entry_hash"]
        row["entry_hash"] = sha256_bytes(canonical_json({"chain": "records", **row}))
        files |= {"records/decision.json": wider, "records/decision.signature.json": json.dumps(row).encode()}

    found = faulty(checked(changed(widen), tmp_path))
    assert "claims traffic, its own reports grant none" in found["decision record"]


def test_a_record_that_shows_small_groups_is_not_exported() -> None:
    whole = Platform("lung_advanced")
    reports = dict(whole.signed.record.reports)
    bias = reports[GateName.BIAS]
    shown = bias.checks[0].model_copy(update={"details": {"groups": {"sex": {"female": {"n": 4}}}}})
    reports[GateName.BIAS] = bias.model_copy(update={"checks": (shown, *bias.checks[1:])})
    whole.signed = replace(whole.signed, record=whole.signed.record.model_copy(update={"reports": reports}))
    with pytest.raises(ValueError, match=rf"{shown.id} /groups/sex/female/n.*judges again"):
        whole.bundle()
