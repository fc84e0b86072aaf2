"""SE14 and SE15 through the server's real request validation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.security.facts import ServedAnswer
from clinical_assets.gates.security.request_bodies import bad_requests, body, typical_row
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import POLICY, found, release, with_contract


def judged(facts: ReleaseFacts, id: str, policy: GatePolicy = POLICY) -> CheckResult:
    return found(security.judge(facts, policy), id)


def lenient(facts: ReleaseFacts, forgives: str) -> ReleaseFacts:
    """A server that scores requests which the real one refuses for a reason holding `forgives`."""
    assert facts.serve_request is not None
    real = facts.serve_request

    def serve(data: bytes) -> ServedAnswer:
        answer = real(data)
        return ServedAnswer(status=200, risks=(0.2,)) if forgives in answer.reason else answer

    return replace(facts, serve_request=serve)


class TestFuzz:
    @pytest.mark.parametrize("slug", ["colon", "breast_fna"])
    def test_the_real_server_refuses_everything(self, slug):
        result = judged(release(slug), "SE15")
        assert result.verdict is Verdict.PASS
        assert result.n is not None
        assert result.n > 300

    @pytest.mark.parametrize(
        ("forgives", "fault"),
        [
            ("not a JSON number", "NaN"),
            ("not finite", "a number beyond float"),
            ("not in the contract", "column that is not in the contract"),
            ("missing column", "column missing"),
            ("unknown category", "unknown category"),
            ("plausible range", "wrong unit"),
            ("send a number, not text", "text for a number"),
            ("given twice", "column twice"),
            ("is not valid JSON", "cut off"),
        ],
    )
    def test_each_leniency_is_found(self, forgives, fault):
        result = judged(lenient(release("colon"), forgives), "SE15")
        assert result.verdict is Verdict.BLOCK
        assert any(fault in failure for failure in result.details["failures"])

    def test_a_server_that_breaks_is_found(self):
        facts = release("colon")
        real = facts.serve_request

        def serve(data: bytes) -> ServedAnswer:
            json.loads(data)  # no error handling
            return real(data)

        result = judged(replace(facts, serve_request=serve), "SE15")
        assert result.verdict is Verdict.BLOCK
        assert "broke the server" in result.reason

    def test_refusing_everybody_is_no_pass(self):
        refusing = replace(release("colon"), serve_request=lambda data: ServedAnswer(status=422, reason="closed"))
        assert judged(refusing, "SE15").verdict is Verdict.BLOCK

    @pytest.mark.parametrize("risk", [float("nan"), 1.2, -0.1])
    def test_an_answer_that_is_no_risk_is_no_pass(self, risk):
        facts = replace(release("colon"), serve_request=lambda data: ServedAnswer(status=200, risks=(risk,)))
        assert judged(facts, "SE15").verdict is Verdict.BLOCK

    def test_without_the_path_nothing_is_claimed(self):
        assert judged(replace(release("colon"), serve_request=None), "SE15").verdict is Verdict.INCONCLUSIVE

    def test_every_kind_of_fault_is_tried_on_a_contract_with_every_type(self):
        contract = release("colon").contract
        faults = {request.fault for request in bad_requests(contract, typical_row(contract, release("colon").train))}
        assert {"NaN", "Infinity", "wrong unit", "unknown category", "missing where required", "nested without end",
                "a fraction for a whole number", "a number for a boolean"} <= faults  # fmt: skip

    def test_the_typical_row_gets_the_score_that_the_model_gives(self):
        facts = release("colon")
        row = typical_row(facts.contract, facts.train)
        answer = facts.serve_request(body(facts.contract, row))
        frame = facts.train.head(1).assign(**row)
        assert answer.risks == pytest.approx(facts.serve_score(frame))


class TestRobustness:
    @pytest.mark.parametrize("slug", ["colon", "breast_fna"])
    def test_a_penalised_model_is_robust(self, slug):
        assert judged(release(slug), "SE14").verdict is Verdict.PASS

    def test_a_model_that_jumps_warns(self):
        facts = release("colon")

        def score(frame):
            return np.mod(frame["age"].to_numpy(float), 2.0) / 2.0

        result = judged(replace(facts, serve_score=score), "SE14")
        assert result.verdict is Verdict.WARN
        assert "measurement error" in result.reason

    @pytest.mark.parametrize(("direction", "verdict"), [("increasing", Verdict.PASS), ("decreasing", Verdict.WARN)])
    def test_a_declared_direction_is_tested(self, direction, verdict):
        policy = GatePolicy.with_overrides({"security": {"monotone": {"nodes": direction}}})
        result = judged(release("colon"), "SE14", policy)
        assert result.verdict is verdict
        assert ("nodes" in result.reason) is (verdict is Verdict.WARN)

    def test_a_declared_direction_of_no_feature_is_an_error(self):
        policy = GatePolicy.with_overrides({"security": {"monotone": {"nodules": "increasing"}}})
        assert judged(release("colon"), "SE14", policy).verdict is Verdict.ERROR

    def test_a_server_that_scores_impossible_inputs_warns(self):
        result = judged(lenient(release("colon"), "plausible range"), "SE14")
        assert result.verdict is Verdict.WARN
        assert "outside the plausible range" in result.reason

    def test_a_server_with_a_wider_range_than_the_contract_shows(self):
        narrower = with_contract(release("colon"), "age", plausible_range=[0, 90])
        assert "in age scored" in judged(narrower, "SE14").reason
