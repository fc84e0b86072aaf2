"""MP2 and MP4: declared times, and the whole curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sksurv.metrics import cumulative_dynamic_auc
from sksurv.util import Surv

from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.curves import censoring_curve
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes

from .cohorts import POLICY, release, select, with_frames, with_risk
from .simulated import hazards_times, run_checks, simulated_release


def judged(facts, id):
    return run_checks(facts, (id,), POLICY)[id]


@pytest.mark.parametrize("day", [600.0, 1826.25])
def test_the_auc_is_that_of_scikit_survival(day):
    facts = release("colon")
    outcomes = Outcomes.from_frame(facts.test, facts.contract.endpoint)
    risk = facts.test_pred.risk
    followed = outcomes.times() + np.where(outcomes.flag, 0.0, 1e-6)  # its censoring curve lets events go first
    observed = Surv.from_arrays(outcomes.flag, followed)
    expected = cumulative_dynamic_auc(observed, observed, risk, [day])[0][0]
    assert ConcordancePairs.at_time(outcomes, day).concordance(risk) == pytest.approx(expected, abs=2e-4)


def test_without_censoring_the_auc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(1)
    time, risk = rng.exponential(size=60), rng.random(60)
    outcomes = Outcomes.survival(time, np.ones(60))
    early = time <= 1.0
    brute = np.mean([[float(a > b) for b in risk[~early]] for a in risk[early]])
    assert ConcordancePairs.at_time(outcomes, 1.0, censoring_curve(outcomes)).concordance(risk) == pytest.approx(brute)


def test_a_good_model_passes_and_tells_each_declared_time():
    result = judged(release("colon"), "MP2")
    assert result.verdict is Verdict.PASS
    assert set(result.details["test"]["auc"]) == {"day 913.125", "day 1826.25"}
    assert result.interval[0] < result.value < result.interval[1]


def test_a_turned_model_blocks():
    turned = with_risk(release("colon"), lambda risk, _: 1.0 - risk)
    assert judged(turned, "MP2").verdict is Verdict.BLOCK


def test_too_few_events_are_inconclusive_and_a_label_has_no_times():
    facts = release("colon")
    rows = np.arange(25)
    few = replace(with_frames(facts, test=facts.test.iloc[rows]), test_pred=select(facts.test_pred, rows), oof=None)
    assert judged(few, "MP2").verdict is Verdict.INCONCLUSIVE
    assert "does not apply" in judged(release("breast_fna"), "MP2").reason


def test_d_calibration_warns_of_curves_that_are_off_and_never_of_right_ones():
    facts = simulated_release(release("colon"), np.random.default_rng(2), 400)
    assert judged(facts, "MP4").verdict is Verdict.PASS
    wrong = simulated_release(release("colon"), np.random.default_rng(2), 400, change=hazards_times(1.5))
    result = judged(wrong, "MP4")
    assert result.verdict is Verdict.WARN
    assert result.value < 0.05
    assert "does not apply" in judged(release("breast_fna"), "MP4").reason
