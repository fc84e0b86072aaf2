"""MP10, MP11 and MP13: the first approved model, the same patients, simple models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from clinical_assets.gates.facts import TestLook
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, release, select, with_risk
from .simulated import run_checks

LOOKED = "2026-01-01T00:00:00+00:00"


def judged(facts, id):
    return run_checks(facts, (id,), POLICY)[id]


def with_looks(facts, *models: str):
    looks = tuple(TestLook(facts.split.digest, model, POLICY.digest, LOOKED) for model in models)
    return replace(facts, looks=looks)


class TestCreep:
    def test_the_first_model_of_a_cancer_type_is_its_own_anchor(self):
        result = judged(release("colon"), "MP10")
        assert result.verdict is Verdict.PASS
        assert "look 1 of 5" in result.reason

    def test_a_champion_that_has_itself_crept_down_does_not_hide_the_loss(self):
        """Every update lost less than the margin; against the first approved model the loss is plain."""
        facts = release("breast")
        noise = np.random.default_rng(7).normal(0, 1, len(facts.test) + len(facts.train))
        crept = with_risk(facts, lambda risk, _: expit(0.2 * logit(risk) + noise[: len(risk)]))
        crept = replace(crept, champion_pred=crept.test_pred, champion_name="model 12")
        anchored = replace(crept, anchor_pred=facts.test_pred, anchor_name="model 1")
        assert judged(anchored, "MP9").verdict is Verdict.PASS
        result = judged(anchored, "MP10")
        assert result.verdict is Verdict.BLOCK
        assert "first approved model model 1" in result.reason

    def test_the_error_is_shared_out_over_the_looks(self):
        facts = release("colon")
        other = replace(facts.test_pred, risk=expit(logit(facts.test_pred.risk) + np.linspace(-0.3, 0.3, 297)))
        anchored = replace(facts, anchor_pred=other, anchor_name="model 1", champion_pred=other)
        creep, champion = judged(anchored, "MP10"), judged(anchored, "MP9")
        assert creep.details["level"] == pytest.approx(0.99)
        assert creep.interval[0] < champion.interval[0] < champion.interval[1] < creep.interval[1]

    def test_an_imprecise_comparison_is_left_to_shadow(self):
        facts = release("colon")
        noise = np.random.default_rng(1).normal(0, 0.5, 297)
        other = replace(facts.test_pred, risk=expit(logit(facts.test_pred.risk) + noise))
        result = judged(replace(facts, anchor_pred=other, anchor_name="model 1"), "MP10")
        assert result.verdict is Verdict.INCONCLUSIVE
        assert "shadow" in result.remedy

    def test_an_anchor_that_asked_another_question_cannot_be_compared(self):
        assert judged(replace(release("colon"), anchor_name="model 1"), "MP10").verdict is Verdict.INCONCLUSIVE

    @pytest.mark.parametrize(("others", "verdict"), [(4, Verdict.PASS), (5, Verdict.BLOCK)])
    def test_a_sixth_model_needs_new_patients(self, others, verdict):
        facts = release("colon")
        looked = with_looks(facts, *[f"{k:064d}" for k in range(others)], facts.model_digest, facts.model_digest)
        result = judged(looked, "MP10")
        assert result.verdict is verdict
        assert result.details["looks"] == others + 1

    def test_looks_at_another_split_do_not_count(self):
        facts = release("colon")
        elsewhere = tuple(TestLook("another split", f"{k:064d}", POLICY.digest, LOOKED) for k in range(9))
        assert judged(replace(facts, looks=facts.looks + elsewhere), "MP10").verdict is Verdict.PASS

    def test_an_unrecorded_look_is_said(self):
        result = judged(replace(release("colon"), looks=()), "MP10")
        assert result.verdict is Verdict.WARN
        assert "not on record" in result.reason


class TestSamePatients:
    def test_every_model_was_scored_on_the_test_split(self):
        facts = release("colon")
        result = judged(replace(facts, champion_pred=facts.test_pred, champion_name="model 12"), "MP11")
        assert result.verdict is Verdict.PASS
        assert "champion model 12" in result.reason

    def test_a_champion_on_fewer_patients_is_found(self):
        facts = release("colon")
        fewer = replace(facts, champion_pred=select(facts.test_pred, np.arange(290)), champion_name="model 12")
        result = judged(fewer, "MP11")
        assert result.verdict is Verdict.BLOCK
        assert result.value == 7
        assert "champion model 12: 7 rows" in result.reason

    def test_another_horizon_is_found(self):
        facts = release("colon")
        earlier = replace(facts.test_pred, times=facts.test_pred.times * 0.6)
        result = judged(replace(facts, champion_pred=earlier, champion_name="model 12"), "MP11")
        assert result.verdict is Verdict.BLOCK
        assert "the horizon is day 1826.25" in result.reason

    def test_another_contract_is_found(self):
        facts = release("colon")
        other = replace(facts, lineage={**facts.lineage, "contract_digest": "0" * 64})
        assert judged(other, "MP11").verdict is Verdict.BLOCK


class TestSimpleModels:
    def test_the_reference_model_itself_has_nothing_simpler_to_beat(self):
        assert "the simple model itself" in judged(release("colon"), "MP13").reason

    def test_a_model_of_stage_alone_is_fitted_where_there_is_a_stage(self):
        result = judged(release("renal_wilms"), "MP13")
        assert set(result.details["gain"]) == {"penalised Cox", "a model of stage alone"}
        assert result.details["gain"]["a model of stage alone"][0] > 0

    def test_a_model_without_gain_is_warned_of_and_never_blocked(self):
        facts = release("colon")
        noise = np.random.default_rng(3).normal(0, 2, len(facts.train) + len(facts.test))
        worse = with_risk(facts, lambda risk, _: expit(logit(risk) + noise[: len(risk)]))
        result = judged(worse, "MP13")
        assert result.verdict is Verdict.WARN
        assert "no gain over penalised Cox" in result.reason
