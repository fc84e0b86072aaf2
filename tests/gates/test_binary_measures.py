"""MP7: AUROC, AUPRC, Brier, log loss and sensitivity at a specificity, against scikit-learn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, log_loss, roc_curve

from clinical_assets.gates.performance.binary_measures import average_precision, log_losses, sensitivity_at
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, release, select, with_frames, with_risk
from .simulated import run_checks


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    label = rng.random(80) < 0.3
    risk = np.round(np.clip(0.3 * label + 0.6 * rng.random(80), 0.01, 0.99), 2)  # with ties
    return label, risk, rng.integers(0, 3, size=(5, 80)).astype(np.float32)


def judged(facts):
    return run_checks(facts, ("MP7",), POLICY)["MP7"]


def test_average_precision_is_that_of_scikit_learn_in_every_bootstrap_sample(sample):
    label, risk, counts = sample
    expected = [average_precision_score(label, risk, sample_weight=row) for row in counts]
    assert average_precision(label, risk, counts) == pytest.approx(expected, abs=1e-6)


def test_sensitivity_is_the_best_that_the_roc_curve_offers_at_the_specificity(sample):
    label, risk, counts = sample
    for row, found in zip(counts, sensitivity_at(label, risk, 0.9, counts), strict=True):
        false, true, _ = roc_curve(label, risk, sample_weight=row, drop_intermediate=False)
        assert found == pytest.approx(true[false <= 0.1 + 1e-9].max(), abs=1e-6)


def test_log_loss_is_that_of_scikit_learn(sample):
    label, risk, _ = sample
    assert log_losses(label, risk).mean() == pytest.approx(log_loss(label, risk))


def test_a_good_model_passes_with_an_interval_on_each_measure():
    result = judged(release("breast_fna"))
    assert result.verdict is Verdict.PASS
    measures = result.details["out of fold"]
    assert all(measures[name][1] <= measures[name][0] <= measures[name][2] for name in ("auprc", "brier", "log_loss"))


def test_noise_is_below_the_floor_and_few_patients_say_nothing():
    facts = release("breast_fna")
    noise = with_risk(facts, lambda risk, _: np.random.default_rng(0).random(len(risk)))
    assert judged(noise).verdict is Verdict.BLOCK
    rows = np.arange(20)
    few = replace(with_frames(facts, test=facts.test.iloc[rows]), test_pred=select(facts.test_pred, rows), oof=None)
    assert judged(few).verdict is Verdict.INCONCLUSIVE


def test_it_does_not_apply_to_a_time_to_event():
    assert "does not apply" in judged(release("colon")).reason
