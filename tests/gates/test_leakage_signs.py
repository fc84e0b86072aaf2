"""MP15c, MP15d and MP15e: categories of early events, one feature that carries all, results too good to be true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clinical_assets.gates.performance.leakage_signs import category_shares
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, release, select, with_frames, with_risk
from .simulated import run_checks


def judged(facts, id, policy=POLICY):
    return run_checks(facts, (id,), policy)[id]


class TestCategories:
    def test_a_category_written_after_early_deaths_blocks(self):
        facts = release("colon")
        early = (facts.train["event"] == 1) & (
            facts.train["time"] < facts.train["time"][facts.train["event"] == 1].quantile(0.2)
        )
        leaked = facts.train.assign(rx=facts.train["rx"].mask(early, "Obs").where(early, "Lev"))
        result = judged(with_frames(facts, train=leaked), "MP15c")
        assert result.verdict is Verdict.BLOCK
        assert "rx = Obs" in result.reason

    def test_values_missing_because_the_patient_died_early_block(self):
        facts = release("colon")
        early = (facts.train["event"] == 1) & (facts.train["time"] < 400)
        assert early.sum() >= 30
        result = judged(
            with_frames(facts, train=facts.train.assign(differ=facts.train["differ"].fillna(2).mask(early))), "MP15c"
        )
        assert result.verdict is Verdict.BLOCK
        assert "differ = missing" in result.reason

    def test_clean_categories_pass_and_small_ones_are_not_judged(self):
        facts = release("colon")
        assert judged(facts, "MP15c").verdict is Verdict.PASS
        shares = category_shares(facts.train, facts.contract.features, facts.train["event"].to_numpy() == 1, 200)
        counts = facts.train["rx"].value_counts()
        assert {name for name in shares if name.startswith("rx")} == {
            f"rx = {name}" for name in counts[counts >= 200].index
        }
        assert shares["sex = male"] == pytest.approx(facts.train.loc[facts.train["sex"] == "male", "event"].mean())

    def test_a_label_may_be_plain_in_a_category(self):
        facts = release("breast_mammographic")
        told = facts.train.assign(shape=np.where(facts.train["label"] == 1, "irregular", "round"))
        assert judged(with_frames(facts, train=told), "MP15c").verdict is Verdict.WARN

    def test_too_few_events(self):
        facts = release("colon")
        few = facts.train[facts.train["event"] == 0].iloc[:80]
        assert judged(replace(with_frames(facts, train=few), oof=None), "MP15c").verdict is Verdict.INCONCLUSIVE


class TestDominance:
    def test_a_score_made_of_one_feature_is_told(self):
        facts = release("colon")
        served = replace(facts, serve_score=lambda rows: rows["nodes"].fillna(0).to_numpy() / 100)
        result = judged(served, "MP15d")
        assert result.verdict is Verdict.WARN
        assert result.value == pytest.approx(1.0)
        assert "nodes alone" in result.reason

    def test_a_model_of_many_features_passes(self):
        assert judged(release("colon"), "MP15d").verdict is Verdict.PASS

    def test_nothing_to_permute(self):
        assert judged(replace(release("colon"), serve_score=None), "MP15d").verdict is Verdict.INCONCLUSIVE


class TestTooGood:
    POLICY = GatePolicy.with_overrides({"performance": {"published_concordance": 0.7}})

    def test_far_above_what_is_published_warns(self):
        facts = release("colon")
        knowing = with_risk(facts, lambda risk, frame: np.clip(1.0 - frame["time"].to_numpy() / 4000, 0.01, 0.99))
        result = judged(knowing, "MP15e", self.POLICY)
        assert result.verdict is Verdict.WARN
        assert "too good" in result.reason

    def test_about_as_good_passes_and_without_a_figure_it_does_not_apply(self):
        assert judged(release("colon"), "MP15e", self.POLICY).verdict is Verdict.PASS
        assert "does not apply" in judged(release("colon"), "MP15e").reason

    def test_too_few_events(self):
        facts, rows = release("colon"), np.arange(8)
        few = replace(with_frames(facts, test=facts.test.iloc[rows]), test_pred=select(facts.test_pred, rows), oof=None)
        assert judged(few, "MP15e", self.POLICY).verdict is Verdict.INCONCLUSIVE
