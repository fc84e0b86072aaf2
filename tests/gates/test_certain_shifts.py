"""Faults of the new extract alone: its events, the unit of its follow-up, its leading feature, its odds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from clinical_assets.gates.checks import Case
from clinical_assets.gates.data_quality.drift import holm
from clinical_assets.gates.performance.calibration_measures import odds_shift
from clinical_assets.gates.performance.comparison import skill_gain
from clinical_assets.gates.performance.evidence import Evidence, judged_sets
from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.metrics.calibration import calibration_line
from clinical_assets.modeling.metrics.prediction_error import brier
from clinical_assets.modeling.outcomes import Outcomes

from .cohorts import POLICY, checked, cohort, release, with_frames, with_risk


class TestOutcomes:
    def test_events_that_a_registry_has_not_yet_recorded_leave_the_band_of_a_rare_outcome(self):
        facts = cohort("renal_wilms")
        lost = np.random.default_rng(1).random(len(facts.test)) < 0.7
        late = with_frames(facts, test=facts.test.assign(event=facts.test["event"].mask(lost, 0)))
        result = checked(late, "DQ9")
        assert result.verdict is Verdict.BLOCK
        assert "in test" in result.reason

    def test_in_a_small_test_split_they_are_a_certain_shift(self):
        facts = cohort("dlbcl")
        lost = np.random.default_rng(1).random(len(facts.test)) < 0.8
        late = with_frames(facts, test=facts.test.assign(event=facts.test["event"].mask(lost, 0)))
        assert checked(late, "DQ13").verdict is Verdict.BLOCK

    @pytest.mark.parametrize(("factor", "named"), [(30.4375, "days to months"), (365.25, "days to years")])
    def test_follow_up_in_another_unit_is_found(self, factor, named):
        facts = cohort("renal_wilms")
        result = checked(with_frames(facts, test=facts.test.assign(time=facts.test["time"] / factor)), "DQ9")
        assert result.verdict is Verdict.BLOCK
        assert named in result.reason

    @pytest.mark.parametrize("slug", ["colon", "renal_wilms", "dlbcl", "breast_fna", "lung_advanced"])
    def test_a_real_cohort_passes_on_either_side(self, slug):
        assert checked(cohort(slug), "DQ9").verdict is Verdict.PASS

    def test_half_the_follow_up_is_no_conversion(self):
        facts = cohort("renal_wilms")
        half = with_frames(facts, test=facts.test.assign(time=facts.test["time"] / 2.0))
        assert "follow-up (day)" not in checked(half, "DQ9").reason


def test_holm_rejects_as_by_hand():
    """Holm (1979), at .05: .01 < .05 / 4, .013 < .05 / 3, .03 > .05 / 2, so that .04 is not asked."""
    assert holm({"a": 0.04, "b": 0.013, "c": 0.03, "d": 0.01}, 0.05) == {"b", "d"}
    assert holm({}, 0.05) == set()


def nearly_certain(rng: np.random.Generator, n: int) -> tuple[np.ndarray, Outcomes]:
    risk = expit(rng.choice([-5.0, 5.0], n) + rng.normal(0, 2, n))
    return risk, Outcomes.binary(rng.random(n) < risk)


def test_the_error_of_a_shift_of_the_odds_is_that_of_repeated_samples():
    rng, values, errors = np.random.default_rng(5), [], []
    for _ in range(200):
        risk, outcomes = nearly_certain(rng, 500)
        stated = expit(logit(risk) + 0.9)
        citl = calibration_line(outcomes, stated, None)[0]
        evidence = Evidence("out of fold", None, outcomes, _Said(stated), None, outcomes.events)  # type: ignore[arg-type]
        values.append(citl)
        errors.append(odds_shift(evidence, citl, 500, outcomes.events).error)
    assert np.mean(values) == pytest.approx(-0.9, abs=0.05)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)


class _Said:
    def __init__(self, risk: np.ndarray) -> None:
        self.risk = risk


def test_a_diagnostic_model_whose_odds_are_far_off_blocks_though_observed_over_expected_is_near_one():
    facts = release("breast_fna")
    shifted = with_risk(facts, lambda risk, _: expit(logit(np.clip(risk, 1e-9, 1 - 1e-9)) + 1.6))
    result = checked(shifted, "MP5")
    assert result.verdict is Verdict.BLOCK
    assert "odds are off" in result.reason
    assert POLICY.performance.observed_expected[0] < result.value < POLICY.performance.observed_expected[1]
    assert "odds are off" not in checked(facts, "MP5").reason


class TestSkill:
    def test_it_is_the_difference_of_brier_skills(self):
        facts = release("breast_fna")
        worse = with_risk(facts, lambda risk, _: np.clip(0.2 + 0.6 * risk, 0, 1))
        evidence = next(one for one in judged_sets(Case(worse, POLICY)) if one.name == "test")
        gain = skill_gain(evidence, facts.test_pred, None)
        own, other = (brier(evidence.outcomes, risk, None) for risk in (evidence.risk, evidence.of(facts.test_pred)))
        rate = evidence.outcomes.flag.mean()
        assert gain.value == pytest.approx((other - own) / (rate * (1 - rate)))

    def test_a_model_that_forecasts_worse_blocks_where_ranks_cannot_tell(self):
        facts = release("breast_fna")
        flat = with_risk(facts, lambda risk, _: np.clip(0.25 + 0.5 * risk, 0, 1))
        result = checked(replace(flat, champion_pred=facts.test_pred, champion_name="model 1"), "MP9")
        assert result.verdict is Verdict.BLOCK
        assert "in skill" in result.reason
        assert result.value == pytest.approx(0.0)
