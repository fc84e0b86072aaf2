from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.gates.checks import REGISTER, Case, Check, Finding, check, run_gate
from clinical_assets.gates.judging import judge
from clinical_assets.gates.policy import REQUIRED, GatePolicy
from clinical_assets.gates.verdict import GateName, Scope, Tier, Verdict
from clinical_assets.gates.verdicts import SAMPLE_SIZE, limits, scope

from .cohorts import NOW, POLICY, found, release


def result_of(find) -> object:
    return Check(GateName.BIAS, "X1", "title", "metric", find).run(Case(release("colon"), POLICY))


def test_every_required_check_is_registered_with_its_gate():
    for gate, ids in REQUIRED.items():
        for id in ids:
            assert REGISTER[id].gate is gate


def test_an_exception_becomes_an_error_that_says_what_happened():
    def crash(_case: Case) -> Finding:
        raise KeyError("nodes")

    result = result_of(crash)
    assert result.verdict is Verdict.ERROR
    assert "KeyError" in result.reason
    assert "nodes" in result.reason


def test_only_plain_finite_values_are_reported():
    details = {"a": np.float64("nan"), "b": np.arange(2), "c": (np.int64(3), float("inf")), 1: {"x": np.bool_(True)}}
    result = result_of(
        lambda _: Finding(
            Verdict.PASS, "", value=np.float64("nan"), interval=(0.0, float("nan")), n=np.int64(3), details=details
        )
    )
    assert (result.value, result.interval, result.n) == (None, None, 3)
    assert result.details == {"a": None, "b": [0, 1], "c": [3, None], "1": {"x": True}}
    canonical_json(result.model_dump(mode="json"))


def test_an_id_is_registered_once():
    with pytest.raises(ValueError, match="MP1 is registered twice"):
        check(GateName.PERFORMANCE, "MP1", "again", "metric")(lambda _: Finding(Verdict.PASS, ""))


def test_shared_work_is_done_once():
    case, calls = Case(release("colon"), POLICY), []

    def compute(_case: Case) -> int:
        calls.append(1)
        return 7

    assert case.once(compute) == case.once(compute) == 7
    assert len(calls) == 1


def test_a_required_check_that_nobody_wrote_blocks_its_gate():
    policy = GatePolicy.with_overrides({"additional_required": {"security": ["SE99"]}})
    assert run_gate(GateName.SECURITY, release("colon"), policy).verdict is Verdict.BLOCK


@pytest.mark.parametrize("slug", ["colon", "breast", "breast_fna"])
def test_every_result_explains_itself(slug):
    for report in judge(release(slug), POLICY).values():
        assert (report.cancer, report.model_digest) == (slug, release(slug).model_digest)
        assert report.policy_digest == POLICY.digest
        for result in report.checks:
            assert result.threshold, result.id
            assert result.threshold_source, result.id
            assert result.reason, result.id
            assert result.n is not None, result.id
            assert result.remedy or result.verdict is Verdict.PASS or result.id == "RG10", result.id
            assert result.duration_s >= 0
        canonical_json(report.model_dump(mode="json"))


def test_a_clean_release_of_a_large_cohort_gets_traffic():
    assert scope(judge(release("breast"), POLICY), Tier.CLINICAL, (), NOW) is Scope.TRAFFIC


def test_a_thin_cohort_gets_traffic_in_the_research_tier_only():
    reports = judge(release("breast_fna"), POLICY)
    assert scope(reports, Tier.RESEARCH, (), NOW) is Scope.TRAFFIC
    assert scope(reports, Tier.CLINICAL, (), NOW) is Scope.NONE
    assert {limit.check_id for limit in limits(reports, Tier.CLINICAL, (), NOW)} == SAMPLE_SIZE - {"BI7", "SE13"}


def test_broken_facts_are_errors_not_crashes():
    facts = replace(release("colon"), train=release("colon").train.drop(columns=["time"]))
    reports = judge(facts, POLICY)
    assert found(reports[GateName.PERFORMANCE], "MP1").verdict is Verdict.ERROR
    assert scope(reports, Tier.RESEARCH, (), NOW) is Scope.NONE
