"""SE13 against brute force, against DeLong's own computation elsewhere, and against a model that remembers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.security.membership import loss_attack
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import POLICY, found, release


def judged(facts: ReleaseFacts) -> CheckResult:
    return found(security.judge(facts, POLICY), "SE13")


def remembering(facts: ReleaseFacts, share: float) -> ReleaseFacts:
    """A scorer that knows the outcome of `share` of its training patients."""
    label = "label" if facts.contract.endpoint.kind == "binary" else "event"
    known = facts.train.sample(frac=share, random_state=0).set_index("subject_id")[label]

    def score(frame):
        risk = np.asarray(facts.serve_score(frame))
        answer = frame["subject_id"].map(known).to_numpy(np.float64)
        return np.where(np.isnan(answer), risk, np.clip(answer, 1e-8, 1 - 1e-8))

    return replace(facts, serve_score=score)


@pytest.mark.parametrize("slug", ["colon", "breast_fna"])
def test_a_penalised_model_does_not_betray_its_patients(slug):
    assert judged(release(slug)).verdict is Verdict.PASS


@pytest.mark.parametrize("slug", ["colon", "breast_fna"])
def test_a_model_that_remembers_blocks(slug):
    result = judged(remembering(release(slug), 1.0))
    assert result.verdict is Verdict.BLOCK
    assert result.interval is not None
    assert result.interval[0] > 0.70


def test_a_model_that_remembers_some_warns():
    assert judged(remembering(release("colon"), 0.35)).verdict is Verdict.WARN


def test_too_few_patients_say_nothing():
    facts = release("colon")
    assert judged(replace(facts, test=facts.test.head(12))).verdict is Verdict.INCONCLUSIVE
    assert judged(replace(facts, serve_score=None)).verdict is Verdict.INCONCLUSIVE


def test_risks_that_are_no_numbers_are_an_error_not_a_pass():
    facts = release("colon")
    broken = replace(facts, serve_score=lambda frame: np.full(len(frame), np.nan))
    assert judged(broken).verdict is Verdict.ERROR


def test_auc_is_that_of_scikit_learn_ties_included():
    rng = np.random.default_rng(3)
    members, others = np.round(rng.exponential(1.0, 83), 1), np.round(rng.exponential(1.3, 41), 1)
    expected = roc_auc_score(np.r_[np.ones(83), np.zeros(41)], -np.r_[members, others])
    assert loss_attack(members, others).auc == pytest.approx(expected)


def test_standard_error_is_delongs_by_its_definition():
    rng = np.random.default_rng(4)
    members, others = np.round(rng.exponential(1.0, 60), 1), np.round(rng.exponential(1.3, 45), 1)
    wins = (members[:, None] < others) + 0.5 * (members[:, None] == others)
    variance = wins.mean(axis=1).var(ddof=1) / 60 + wins.mean(axis=0).var(ddof=1) / 45
    assert loss_attack(members, others).error == pytest.approx(np.sqrt(variance))


def test_the_interval_covers_chance_as_often_as_it_says():
    rng = np.random.default_rng(5)
    attacks = [loss_attack(rng.exponential(1.0, 80), rng.exponential(1.0, 40)) for _ in range(600)]
    covered = np.mean([low <= 0.5 <= high for low, high in (attack.interval() for attack in attacks)])
    assert covered == pytest.approx(0.95, abs=0.03)
