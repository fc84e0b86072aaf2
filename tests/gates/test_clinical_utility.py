"""MP6: net benefit at the declared operating point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clinical_assets.gates.performance.clinical_utility import net_benefits
from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.metrics.usefulness import net_benefit
from clinical_assets.modeling.outcomes import Outcomes

from .cohorts import POLICY, release, select, with_frames, with_risk
from .simulated import run_checks


def judged(facts):
    return run_checks(facts, ("MP6",), POLICY)["MP6"]


def test_for_a_label_it_is_counted_by_hand():
    label, risk = np.array([1, 1, 0, 0, 0, 1, 0, 0]), np.array([0.9, 0.2, 0.7, 0.1, 0.3, 0.6, 0.5, 0.05])
    flagged = risk >= 0.25
    expected = 2 / 8 - 3 / 8 * (0.25 / 0.75)
    assert net_benefits(Outcomes.binary(label), flagged, 0.25, None).mean() == pytest.approx(expected)


@pytest.mark.parametrize("threshold", [0.3, 0.45, 0.6])
def test_weighted_for_censoring_it_agrees_with_kaplan_meier_among_the_flagged(threshold):
    """Vickers et al. (2008) estimate events among the flagged by Kaplan-Meier, as the package dcurves does."""
    facts = release("colon")
    outcomes = Outcomes.from_frame(facts.test, facts.contract.endpoint)
    risk = facts.test_pred.risk
    other = net_benefit(outcomes, risk, threshold, 1826.25)
    assert net_benefits(outcomes, risk >= threshold, threshold, 1826.25).mean() == pytest.approx(other.model, abs=0.01)
    everybody = net_benefits(outcomes, np.ones(len(risk), dtype=bool), threshold, 1826.25).mean()
    assert everybody == pytest.approx(other.treat_all, abs=1e-6)


def test_a_useful_model_passes_at_each_point_of_the_range():
    result = judged(release("colon"))
    assert result.verdict is Verdict.PASS
    assert result.value > 0
    assert len([name for name in result.details["test"] if name.startswith("risk")]) == 3


def test_acting_on_a_turned_model_does_harm():
    result = judged(with_risk(release("colon"), lambda risk, _: 1.0 - risk))
    assert result.verdict is Verdict.BLOCK
    assert "does harm" in result.reason


def test_a_champion_that_is_worth_much_more_blocks():
    facts = release("breast")
    flat = with_risk(facts, lambda risk, _: np.full_like(risk, 0.2))
    result = judged(replace(flat, champion_pred=facts.test_pred, champion_name="model 12"))
    assert result.verdict is Verdict.BLOCK
    assert "the champion" in result.reason


def test_a_few_patients_say_nothing():
    facts, rows = release("colon"), np.arange(40)
    few = replace(with_frames(facts, test=facts.test.iloc[rows]), test_pred=select(facts.test_pred, rows), oof=None)
    assert judged(few).verdict is Verdict.INCONCLUSIVE
