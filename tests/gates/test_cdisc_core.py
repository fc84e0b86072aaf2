"""DQ2: reports of CDISC's rules engine, read and judged; an engine that is absent, fails, or runs nothing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clinical_assets.conformance import conformance_of
from clinical_assets.gates.data_quality.cdisc_core import Conformance, read_report
from clinical_assets.gates.data_quality.policy import DataQualityPolicy
from clinical_assets.gates.verdict import Verdict
from clinical_assets.trials.sources.spec import SourceSpec

from .cohorts import checked, cohort


def report(issues: int = 2, statuses: tuple[str, ...] = ("SUCCESS", "SKIPPED")) -> dict[str, Any]:
    """A report as the engine's `sdtm_report_data.py` lays it out."""
    return {
        "Conformance_Details": {
            "CORE_Engine_Version": "0.12.0", "Report_Generation": "2026-01-31T12:00:00", "Total_Runtime": "8.1 seconds",
            "Standard": "ADAMIG", "Version": "V1.3", "CT_Version": "adamct-2024-09-27", "Define_XML_Version": None,
        },
        "Dataset_Details": [{"filename": "adsl.xpt", "label": "Subject-Level Analysis", "path": "/d", "length": 254}],
        "Issue_Summary": [
            {"dataset": "ADSL", "core_id": "CORE-000000", "message": "AGE is not an integer", "issues": issues}
        ] if issues else [],
        "Issue_Details": [],
        "Rules_Report": [
            {"core_id": f"CORE-{number:06d}", "version": "1", "cdisc_rule_id": "AD0001", "fda_rule_id": "",
             "message": "", "status": status}
            for number, status in enumerate(statuses)
        ],
    }  # fmt: skip


def judged(content: dict[str, Any]):
    return checked(replace(cohort("colon"), conformance=Conformance("ADaM", report=read_report(content))), "DQ2")


class TestReport:
    def test_issues_and_skipped_rules_are_read(self):
        read = read_report(report(statuses=("SUCCESS", "ISSUE REPORTED", "SKIPPED", "EXECUTION ERROR")))
        assert (read.engine, read.standard, read.version) == ("0.12.0", "ADAMIG", "V1.3")
        assert read.rules_run == 2
        assert read.skipped == {"CORE-000002": "SKIPPED", "CORE-000003": "EXECUTION ERROR"}
        assert [(issue.rule, issue.rows, issue.severity) for issue in read.issues] == [("CORE-000000", 2, "error")]

    def test_a_rule_whose_execution_failed_is_not_broken_but_not_run(self):
        content = report(issues=0, statuses=("SUCCESS", "EXECUTION ERROR"))
        content["Issue_Summary"] = [
            {"dataset": "ADSL", "core_id": "CORE-000001", "message": "rule execution error", "issues": 1}
        ]
        content["Issue_Details"] = [{"core_id": "CORE-000001", "dataset": "ADSL", "variables": "", "values": "x"}]
        read = read_report(content)
        assert read.issues == ()
        assert read.skipped == {"CORE-000001": "EXECUTION ERROR"}
        content["Issue_Details"][0]["variables"] = ["AGE"]
        assert len(read_report(content).issues) == 1

    def test_the_older_spelling_of_its_sections(self):
        content = report()
        older = {
            "conformance_details": content["Conformance_Details"],
            "issue Summary": content["Issue_Summary"],
            "Rules Report": [{"CORE-ID": "CORE-000001", "Status": "SUCCESS"}],
        }
        assert read_report(older).rules_run == 1

    def test_a_raw_report_is_refused(self):
        with pytest.raises(ValueError, match="raw-report"):
            read_report({"conformance_details": {}, "results_data": []})


class TestVerdict:
    def test_errors_block_and_skipped_rules_are_counted(self):
        result = judged(report())
        assert result.verdict is Verdict.BLOCK
        assert "CORE-000000" in result.reason
        assert "1 of 2 rules were not run" in result.reason
        assert result.details["skipped"] == {"CORE-000001": "SKIPPED"}

    def test_lesser_issues_and_skipped_rules_warn(self):
        content = report()
        content["Issue_Summary"][0]["severity"] = "Warning"
        assert judged(content).verdict is Verdict.WARN
        assert judged(report(issues=0)).verdict is Verdict.WARN

    def test_all_rules_run_and_none_broken(self):
        assert judged(report(issues=0, statuses=("SUCCESS", "SUCCESS"))).verdict is Verdict.PASS

    def test_nothing_run_is_no_conformance(self):
        assert judged(report(issues=0, statuses=("SKIPPED",))).verdict is Verdict.INCONCLUSIVE

    def test_an_engine_that_is_absent_leaves_it_open(self):
        absent = replace(cohort("colon"), conformance=Conformance("ADaM", "CDISC CORE is not installed"))
        result = checked(absent, "DQ2")
        assert result.verdict is Verdict.INCONCLUSIVE
        assert "not installed" in result.reason

    def test_a_source_of_another_kind(self):
        result = checked(cohort("colon"), "DQ2")
        assert (result.verdict, result.value) == (Verdict.PASS, None)
        assert "does not apply" in result.reason


class TestEngine:
    @pytest.fixture
    def source(self, tmp_path: Path) -> SourceSpec:
        for name in ("adsl.xpt", "adtte.xpt"):
            (tmp_path / name).write_bytes(b"")
        return SourceSpec(
            kind="adam", path=str(tmp_path / "adsl.xpt"), adtte=str(tmp_path / "adtte.xpt"), paramcd="OS",
            data_status="real", licence="own", citation="own",
        )  # fmt: skip

    def engine(self, path: Path, body: str) -> str:
        path.write_text(f"#!{sys.executable}\nimport json, sys\narguments = sys.argv[1:]\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def test_it_is_called_as_its_manual_says(self, source, tmp_path, monkeypatch):
        body = f"""
assert arguments[:5] == ["validate", "-s", "adamig", "-v", "1-3"], arguments
assert [arguments[at + 1][-9:] for at, word in enumerate(arguments) if word == "-dp"] == ["/adsl.xpt", "adtte.xpt"]
open(arguments[arguments.index("-o") + 1] + ".json", "w").write(json.dumps({report()!r}))
"""
        monkeypatch.setenv("CDISC_CORE", self.engine(tmp_path / "core", body))
        found = conformance_of(source, DataQualityPolicy())
        assert found.problem == ""
        assert found.report is not None
        assert found.report.rules_run == 1

    @pytest.mark.parametrize(("body", "problem"), [("sys.exit(3)", "ended with 3"), ("pass", "ended with 0")])
    def test_a_failed_run_is_a_problem(self, source, tmp_path, monkeypatch, body, problem):
        monkeypatch.setenv("CDISC_CORE", self.engine(tmp_path / "core", body))
        found = conformance_of(source, DataQualityPolicy())
        assert found.report is None
        assert problem in found.problem

    def test_without_an_engine_or_with_other_files(self, source, tmp_path, monkeypatch):
        monkeypatch.setenv("CDISC_CORE", str(tmp_path / "nowhere"))
        assert "not installed" in conformance_of(source, DataQualityPolicy()).problem
        (tmp_path / "adsl.csv").write_text(json.dumps({}))
        other = source.model_copy(update={"path": str(tmp_path / "adsl.csv")})
        assert "adsl.csv" in conformance_of(other, DataQualityPolicy()).problem
