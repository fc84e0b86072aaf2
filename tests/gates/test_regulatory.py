from __future__ import annotations

import shutil
import socket
from dataclasses import replace

import pytest

from clinical_assets.foundation.clock import utc_iso
from clinical_assets.gates.facts import AuditState, ReleaseFacts, SignatureFact, VerifiedApproval
from clinical_assets.gates.regulatory import gate as regulatory
from clinical_assets.gates.regulatory.identifiers import identifier_name, scan
from clinical_assets.gates.verdict import CheckResult, Verdict
from clinical_assets.trials.placeholder import TO_BE_COMPLETED

from .cohorts import NOW, POLICY, found, release, with_frames

DAY = 86_400.0


def judged(facts: ReleaseFacts, id: str) -> CheckResult:
    return found(regulatory.judge(facts, POLICY), id)


def approval(**changes: str) -> VerifiedApproval:
    facts = release("colon")
    values = {
        "name": "Ada Lovelace", "role": "medical lead", "meaning": "approval", "cancer": "colon",
        "model_digest": facts.model_digest, "environment": "local",
        "issued_utc": utc_iso(NOW - DAY), "expires_utc": utc_iso(NOW + 30 * DAY),
    }  # fmt: skip
    return VerifiedApproval(**(values | changes))


@pytest.mark.parametrize("slug", ["colon", "breast", "breast_fna", "lung_advanced", "renal_wilms"])
def test_a_clean_real_release_is_neither_blocked_nor_in_error(slug):
    report = regulatory.judge(release(slug), POLICY)
    assert not {check.verdict for check in report.checks} & {Verdict.BLOCK, Verdict.ERROR}, report.checks


class TestColumnNames:
    @pytest.mark.parametrize(
        "name",
        ["MRN", "patient_name", "PatientID", "pat_id", "ssn", "DOB", "birth_date", "DateOfBirth", "zip_code",
         "phone_no", "e_mail", "emailAddress", "street", "lastName", "telephon", "device_id", "name"],
    )  # fmt: skip
    def test_identifiers_are_recognised(self, name):
        assert identifier_name(name) is not None

    @pytest.mark.parametrize(
        "name",
        ["age", "sex", "grade", "nodes", "pgr", "ph.ecog", "t_cell_count", "cell_type", "platelets", "instit", "histol",
         "wt_loss", "meal_cal", "mean_fractal_dimension", "patient_age"],
    )  # fmt: skip
    def test_clinical_columns_are_not(self, name):
        assert identifier_name(name) is None

    def test_a_column_named_like_an_identifier_blocks(self):
        facts = release("colon")
        result = judged(with_frames(facts, train=facts.train.assign(home_phone="x")), "RG1")
        assert result.verdict is Verdict.BLOCK
        assert "home_phone" in result.reason


class TestValues:
    @pytest.mark.parametrize(
        ("value", "entity"),
        [
            ("john.smith@example.com", "EMAIL_ADDRESS"),
            ("536-90-4399", "US_SSN"),
            ("ssn: 536904399", "US_SSN"),
            ("(212) 555-0187", "PHONE_NUMBER"),
            ("+44 20 7946 0958", "PHONE_NUMBER"),
            ("phone: 2125550187", "PHONE_NUMBER"),
            ("MRN 00482913", "MEDICAL_RECORD_NUMBER"),
            ('{"patient_id": "A-482913"}', "MEDICAL_RECORD_NUMBER"),
            ("4111 1111 1111 1111", "CREDIT_CARD"),
        ],
    )
    def test_identifiers_are_recognised(self, value, entity):
        assert entity in {hit.entity for hit in scan("column", [value], POLICY.regulatory.identifier_score)}

    @pytest.mark.parametrize(
        "value",
        ["Lev+5FU", "0.6931471805599453", "2026-01-31T12:00:00+00:00", "2026-01-31", "1826.25", "12345678", "1393",
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", '"risk": [0.4111111111111111, 1e-12]'],
    )  # fmt: skip
    def test_measurements_digests_and_dates_are_not(self, value):
        assert scan("column", [value], POLICY.regulatory.identifier_score) == []

    @pytest.mark.parametrize("value", ["john.smith@example.com", "536-90-4399", "MRN: 00482913", "212-555-0187"])
    def test_an_identifier_in_a_column_blocks_and_is_not_repeated(self, value):
        facts = release("colon")
        changed = facts.train.assign(rx=facts.train["rx"].where(facts.train.index != 5, value))
        result = judged(with_frames(facts, train=changed), "RG2")
        assert result.verdict is Verdict.BLOCK
        assert "column rx" in result.reason
        assert value not in str(result)

    def test_an_identifier_as_subject_id_blocks(self):
        facts = release("colon")
        changed = facts.train.assign(subject_id=[f"536-90-{4000 + k}" for k in range(len(facts.train))])
        assert judged(with_frames(facts, train=changed), "RG2").verdict is Verdict.BLOCK

    def test_an_identifier_in_a_kept_text_blocks_unless_it_is_a_known_contact(self):
        facts = replace(release("colon"), artifacts_text={"report.html": "owner: lead@example.org\nend"})
        result = judged(facts, "RG2")
        assert result.verdict is Verdict.BLOCK
        assert "report.html" in result.reason
        assert judged(replace(facts, known_contacts=("Lead@example.org",)), "RG2").verdict is Verdict.PASS

    def test_an_identifier_inside_the_model_directory_blocks(self, tmp_path):
        facts = release("colon")
        shutil.copytree(facts.model_dir, tmp_path / "model")
        (tmp_path / "model" / "notes.json").write_text('{"contact": "call 212-555-0187"}')
        assert judged(replace(facts, model_dir=tmp_path / "model"), "RG2").verdict is Verdict.BLOCK

    def test_scanning_opens_no_connection(self, monkeypatch):
        def refused(*_args: object, **_kwargs: object) -> None:
            raise AssertionError("a connection was opened")

        monkeypatch.setattr(socket, "getaddrinfo", refused)
        assert scan("column", ["someone@hospital.org"], 0.5)


class TestSignatures:
    def test_a_copied_signature_is_refused(self):
        facts = release("colon")
        copied = SignatureFact("approval", "Ada Lovelace", "d" * 64, verified=True)
        result = judged(replace(facts, signatures=(*facts.signatures, copied)), "RG8")
        assert result.verdict is Verdict.BLOCK
        assert "another model" in result.reason

    def test_a_signature_that_does_not_verify_is_refused(self):
        facts = release("colon")
        forged = SignatureFact("waiver", "Ada Lovelace", facts.model_digest, verified=False, problem="unknown key")
        assert "unknown key" in judged(replace(facts, signatures=(*facts.signatures, forged)), "RG8").reason

    def test_no_signature_is_no_pass(self):
        assert judged(replace(release("colon"), signatures=()), "RG8").verdict is Verdict.BLOCK


class TestApprovals:
    def test_none_yet_warns(self):
        assert judged(release("colon"), "RG10").verdict is Verdict.WARN

    def test_a_valid_one_passes(self):
        assert judged(replace(release("colon"), approvals=(approval(),)), "RG10").verdict is Verdict.PASS

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"expires_utc": utc_iso(NOW)}, "expired"),
            ({"environment": "production"}, "environment"),
            ({"model_digest": "d" * 64}, "another model"),
            ({"cancer": "breast"}, "another cancer"),
            ({"name": "platform"}, "author"),
            ({"expires_utc": utc_iso(NOW + 100 * DAY)}, "90 days"),
            ({"issued_utc": utc_iso(NOW + DAY)}, "future"),
        ],
    )
    def test_one_that_does_not_hold_blocks(self, change, named):
        result = judged(replace(release("colon"), approvals=(approval(**change),)), "RG10")
        assert result.verdict is Verdict.BLOCK
        assert named in result.reason


class TestLineage:
    @pytest.mark.parametrize("name", ["data_digest", "commit", "lock_digest", "seed", "parameters"])
    def test_a_missing_entry_blocks(self, name):
        facts = release("colon")
        kept = {key: value for key, value in facts.lineage.items() if key != name}
        result = judged(replace(facts, lineage=kept), "RG11")
        assert result.verdict is Verdict.BLOCK
        assert name in result.reason

    @pytest.mark.parametrize("name", ["data_digest", "split_digest", "policy_digest", "contract_digest"])
    def test_a_digest_of_something_else_blocks(self, name):
        facts = release("colon")
        assert judged(replace(facts, lineage={**facts.lineage, name: "0" * 64}), "RG11").verdict is Verdict.BLOCK

    def test_uncommitted_code_needs_its_digest(self):
        facts = release("colon")
        dirty = replace(facts, lineage={**facts.lineage, "clean": False})
        assert judged(dirty, "RG11").verdict is Verdict.BLOCK
        known = replace(dirty, lineage={**dirty.lineage, "code_digest": "c" * 64})
        assert judged(known, "RG11").verdict is Verdict.WARN


class TestAuditTrail:
    def test_a_broken_chain_blocks(self):
        result = judged(replace(release("colon"), audit=AuditState(False, 5, "entry 3 was edited")), "RG6")
        assert result.verdict is Verdict.BLOCK
        assert "entry 3" in result.reason

    def test_an_empty_log_warns(self):
        assert judged(replace(release("colon"), audit=AuditState(True, 0)), "RG6").verdict is Verdict.WARN


class TestEvidenceFromPatients:
    @pytest.mark.parametrize("status", ["real", "real-simplified", "real-thin"])
    def test_patients_data_pass(self, status):
        facts = release("colon")
        assert (
            judged(replace(facts, manifest={**facts.manifest, "data_status": status}), "RG21").verdict is Verdict.PASS
        )

    def test_simulated_data_are_inconclusive_and_say_so(self):
        facts = release("colon")
        result = judged(replace(facts, manifest={**facts.manifest, "data_status": "simulated"}), "RG21")
        assert (result.verdict, result.value) == (Verdict.INCONCLUSIVE, "simulated")
        assert "simulated" in result.reason

    def test_a_manifest_that_does_not_say_blocks(self):
        facts = release("colon")
        silent = {key: value for key, value in facts.manifest.items() if key != "data_status"}
        assert judged(replace(facts, manifest=silent), "RG21").verdict is Verdict.BLOCK

    def test_simulated_rows_that_are_called_real_block_even_if_they_are_few(self):
        facts = release("colon")
        test = facts.test.copy()
        test.loc[3, "subject_id"] = "simulated-0007"
        result = judged(replace(facts, test=test), "RG21")
        assert result.verdict is Verdict.BLOCK
        assert "1 subjects are named simulated-" in result.reason


class TestDeclarations:
    def test_a_draft_is_stopped_with_the_keys_that_a_person_must_fill(self):
        facts = release("colon")
        columns = [
            column.model_copy(update={"unit": TO_BE_COMPLETED}) if column.name == "nodes" else column
            for column in facts.contract.columns
        ]
        draft = replace(
            facts,
            contract=facts.contract.model_copy(update={"columns": tuple(columns)}),
            manifest={**facts.manifest, "licence": f"{TO_BE_COMPLETED}: who allows what"},
            artifacts_text={"context_of_use.json": f'{{"users": "{TO_BE_COMPLETED}"}}'},
        )
        result = judged(draft, "RG13")
        assert result.verdict is Verdict.BLOCK
        assert result.details["left"] == ["contract.columns.nodes.unit", "manifest.licence", "context_of_use.json"]

    def test_a_complete_contract_passes(self):
        assert judged(release("colon"), "RG13").verdict is Verdict.PASS
