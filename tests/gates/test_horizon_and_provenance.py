"""MP16 and MP17: where the operating point comes from; horizon, follow-up and the unit of time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clinical_assets.gates.facts import Predictions, TestLook
from clinical_assets.gates.performance.horizon import time_scale
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, release
from .simulated import clock_times, hazards_times, run_checks, simulated_release


def judged(facts, id):
    return run_checks(facts, (id,), POLICY)[id]


def looked(facts, when: str):
    return replace(facts, looks=(TestLook(facts.split.digest, facts.model_digest, POLICY.digest, when),))


class TestOperatingPoint:
    def test_a_contract_older_than_the_look_passes(self):
        result = judged(looked(release("colon"), "2099-01-01T00:00:00+00:00"), "MP16")
        assert result.verdict is Verdict.PASS
        assert "risk 0.45" in result.reason

    @pytest.mark.parametrize("fact", ["manifest", "lineage"])
    def test_a_contract_changed_since_ingestion_or_training_blocks(self, fact):
        facts = release("colon")
        key = "contract_sha256" if fact == "manifest" else "contract_digest"
        changed = replace(facts, **{fact: {**getattr(facts, fact), key: "0" * 64}})
        result = judged(changed, "MP16")
        assert result.verdict is Verdict.BLOCK
        assert "another contract" in result.reason

    def test_a_point_chosen_on_the_test_split_blocks(self):
        facts = release("colon")
        tuned = replace(facts, cv_choice={"operating_point": {"split_digest": facts.split.digest, "risk": 0.41}})
        assert "chosen on the test split" in judged(tuned, "MP16").reason
        elsewhere = replace(facts, cv_choice={"operating_point": {"split_digest": "a" * 64, "risk": 0.41}})
        assert judged(elsewhere, "MP16").verdict is not Verdict.BLOCK

    def test_what_is_not_recorded_cannot_be_shown(self):
        facts = release("colon")
        bare = replace(facts, lineage={**facts.lineage, "contract_digest": ""})
        assert judged(bare, "MP16").verdict is Verdict.INCONCLUSIVE

    def test_a_snapshot_younger_than_the_look_warns(self):
        assert judged(looked(release("colon"), "1999-01-01T00:00:00+00:00"), "MP16").verdict is Verdict.WARN


class TestHorizon:
    def test_a_horizon_within_the_follow_up_passes(self):
        result = judged(release("colon"), "MP17")
        assert result.verdict is Verdict.PASS
        assert result.details["at_risk"] == 511

    def test_a_horizon_beyond_the_follow_up_blocks(self):
        facts = simulated_release(release("colon"), np.random.default_rng(0), 200)
        short = facts.train.assign(time=facts.train["time"].clip(upper=1500.0))
        ended = replace(facts, train=short, test=facts.test.assign(time=facts.test["time"].clip(upper=1500.0)))
        result = judged(ended, "MP17")
        assert result.verdict is Verdict.BLOCK
        assert "beyond the follow-up" in result.reason

    def test_too_few_followed_to_the_horizon_is_inconclusive(self):
        facts = simulated_release(release("colon"), np.random.default_rng(0), 8)
        assert judged(facts, "MP17").verdict is Verdict.INCONCLUSIVE

    @pytest.mark.parametrize("factor", [30.4375, 0.8, 1 / 30.4375])
    def test_a_clock_in_another_unit_blocks_even_with_few_events(self, factor):
        facts = simulated_release(release("colon"), np.random.default_rng(1), 30, change=clock_times(factor))
        result = judged(facts, "MP17")
        assert result.verdict is Verdict.BLOCK
        assert "clock" in result.reason

    def test_curves_that_end_elsewhere_or_contradict_the_risks_block(self):
        facts = release("colon")
        months = replace(facts, test_pred=replace(facts.test_pred, times=facts.test_pred.times / 30.4375))
        assert "the curves end at day 60" in judged(months, "MP17").reason
        apart = replace(facts, test_pred=replace(facts.test_pred, risk=0.9 * facts.test_pred.risk))
        assert "differ by up to" in judged(apart, "MP17").reason

    def test_the_clock_of_curves_read_faster_is_that_factor(self):
        times = np.linspace(10, 1000, 100)
        curves = np.exp(-(np.outer([0.5, 1.0, 2.0], times / 1000) ** 1.3))
        model = Predictions(np.arange(3).astype(str), 1 - curves[:, -1], curves, times)
        for factor in (0.5, 0.8, 1.0, 1.6):
            assert time_scale(clock_times(factor)(model), model) == pytest.approx(factor, rel=0.01)
        assert time_scale(hazards_times(1.3)(model), model) > 1.1

    def test_a_label_has_no_horizon(self):
        assert "does not apply" in judged(release("breast_fna"), "MP17").reason
