"""The power benchmark: every fault names real checks of its gate, really spoils a release, and is counted as it was."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.gate_power.fault import FAULTS, Severity, fault
from benchmarks.gate_power.figure import bars
from benchmarks.gate_power.releases import Release, twin, with_frames, with_risk
from benchmarks.gate_power.report import markdown
from benchmarks.gate_power.running import Record, answer, judged_case
from benchmarks.gate_power.summary import Share, Summary
from benchmarks.gate_power.typical_gate import points, refusals
from clinical_assets.gates.checks import REGISTER
from clinical_assets.gates.verdict import GateName
from clinical_assets.modeling.artifact import load_model
from tests.gates import cohorts


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Release:
    facts = replace(cohorts.release("lung_advanced"), now=time.time())
    model = load_model(facts.model_dir, facts.model_digest)
    return Release(facts, cohorts.POLICY, model, lambda _: "another digest", tmp_path_factory.mktemp("edited"))


@pytest.mark.parametrize("one", FAULTS.values(), ids=lambda one: one.name)
def test_the_right_checks_exist_and_the_first_is_in_the_gate_of_the_fault(one):
    assert set(one.checks) <= set(REGISTER)
    assert REGISTER[one.checks[0]].gate is one.gate


def test_every_gate_has_faults_and_no_name_is_taken_twice():
    assert {one.gate for one in FAULTS.values()} == set(GateName)
    with pytest.raises(ValueError, match="registered twice"):
        fault(GateName.BIAS, next(iter(FAULTS)), "BI1")(lambda release, _: release.facts)


@pytest.mark.parametrize("severity", Severity)
def test_an_injection_leaves_the_clean_release_alone_and_is_the_same_twice(clean, severity):
    before = clean.facts.test.copy()
    for one in FAULTS.values():
        first, second = one.inject(clean, severity), one.inject(clean, severity)
        assert (first is None) == (second is None), one.name
        if first is not None and second is not None:
            assert first is not clean.facts, one.name
            assert first.test.equals(second.test), one.name
            np.testing.assert_array_equal(first.test_pred.risk, second.test_pred.risk)
    assert clean.facts.test.equals(before)


@pytest.mark.parametrize("name", ["a lock without hashes", "another model is deployed"])
def test_a_fault_is_named_by_its_check_and_no_other_gate_is_asked(clean, name):
    case = case_of(clean, name, answer(clean, [GateName.SECURITY]))
    assert case["named"] == list(FAULTS[name].checks)
    assert list(case["seconds"]) == ["security"]


def test_what_blocked_the_clean_release_does_not_count_as_found(clean):
    name = "a lock without hashes"
    spoilt = replace(clean, facts=FAULTS[name].inject(clean, Severity.MEDIUM))
    known = answer(spoilt, [GateName.SECURITY])
    case = judged_case(FAULTS[name], Severity.MEDIUM, spoilt, known, [GateName.SECURITY])
    assert case["named"] == []


def case_of(clean, name, known):
    faulty = replace(clean, facts=FAULTS[name].inject(clean, Severity.MEDIUM))
    return judged_case(FAULTS[name], Severity.MEDIUM, faulty, known)


def test_a_twin_keeps_predictions_with_their_patients(clean):
    drawn = twin(clean, 1).facts
    assert len(drawn.test) < len(clean.facts.test)
    assert drawn.manifest["rows"] == len(drawn.train) + len(drawn.test)
    risk = dict(zip(clean.facts.test_pred.subject_ids, clean.facts.test_pred.risk, strict=True))
    assert [risk[one] for one in drawn.test["subject_id"]] == list(drawn.test_pred.risk)


def test_risks_that_do_not_change_change_nothing(clean):
    same = with_risk(with_frames(clean.facts), lambda risk, _: risk)
    assert same.test_pred.survival == pytest.approx(clean.facts.test_pred.survival)


def test_the_typical_gate_passes_the_last_release_and_stops_a_turned_sign(clean):
    last = points(clean.facts)
    assert refusals(clean.facts, last) == []
    assert refusals(with_risk(clean.facts, lambda risk, _: 1.0 - risk), last)


def case(severity: str, named: bool, stopped: bool, typical: bool) -> dict:
    return {
        "fault": "another unit", "gate": "data_quality", "severity": severity, "right": ["DQ5"],
        "named": ["DQ5"] * named, "blocks": {"DQ5" if named else "MP5": "BLOCK: why"} if stopped else {}, "held": [],
        "warned": [], "seconds": {"data_quality": 1.0}, "typical": ["AUC"] * typical,
    }  # fmt: skip


def test_counts_and_reductions(tmp_path: Path):
    good = {"release": "own", "blocks": {}, "limited": ["DQ17"], "inconclusive": [], "warned": [],
            "seconds": {"data_quality": 1.0}}  # fmt: skip
    bad = {**good, "blocks": {"DQ1": "BLOCK: nothing"}, "limited": []}
    cases = [case("medium", True, True, True), case("medium", False, True, False), case("medium", False, False, False)]
    summary = Summary([Record("colon", [good, bad], cases)])
    assert summary.reached(summary.cases) == {"ungated": 3, "typical gate": 2, "five gates": 1}
    assert summary.reductions(summary.cases) == {"ungated": pytest.approx(2 / 3), "typical gate": pytest.approx(0.5)}
    assert summary.false_blocks == Share(1, 2)
    assert summary.document()["recall"]["medium"]["all"]["named"] == {"count": 1, "n": 3}
    text = markdown(summary)
    assert "reaches traffic" in text
    assert "stopped by MP5" in text
    bars(summary, tmp_path / "bars.svg")
    assert "66.7%" in (tmp_path / "bars.svg").read_text()


def test_exact_interval_of_no_failure_in_a_hundred():
    """Rule of three, exact: 1 - .025 ** (1 / 100)."""
    assert Share(0, 100).interval == (0.0, pytest.approx(1 - 0.025**0.01))
