"""Missed cases in a subgroup, and the AUROC comparison in blocks."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clinical_assets.rollout.evidence.concordance import ConcordanceEvidence
from clinical_assets.rollout.evidence.subgroups import SubgroupEvidence

from .patients import cohort

GROUPS = ("sex=female", "sex=male", "age=<50", "age=50-64", "age=>=65")


def _cases(rng: np.random.Generator, n: int, missed: float) -> SubgroupEvidence:
    """Both models find 70 % of the cases with some disagreement; the challenger misses `missed` more of the women."""
    evidence = SubgroupEvidence.start(GROUPS)
    for _ in range(n):
        sex, age = rng.choice(GROUPS[:2]), rng.choice(GROUPS[2:])
        champion, challenger = rng.uniform(size=2) < 0.7
        if sex == "sex=female" and rng.uniform() < missed:
            challenger = False
        evidence = evidence.update((sex, age), int(champion) - int(challenger), 0.0)
    return evidence


def test_a_group_whose_cases_are_missed_is_named() -> None:
    evidence = _cases(np.random.default_rng(90), 500, 0.45)
    assert evidence.rejects(0.01)
    assert evidence.worst == "sex=female"


def test_many_groups_do_not_raise_false_alarms() -> None:
    rng = np.random.default_rng(91)
    assert sum(_cases(rng, 200, 0.0).rejects(0.05) for _ in range(60)) <= 7


def test_the_test_is_the_average_of_the_groups() -> None:
    evidence = SubgroupEvidence.start(("a", "b")).update(["a"], 1, 0.1, 2.0, 4.0)
    gain = 2 * 0.9 / (1.1 * 4)
    one = 0.3 * (1 + 0.5 * gain) + 0.7 * (1 + 0.99 * gain)
    assert np.exp(evidence.log_e) == pytest.approx((one + 1) / 2)
    assert SubgroupEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence
    assert SubgroupEvidence.start(()).log_e == 0.0


def test_an_undeclared_group_is_left_out() -> None:
    assert SubgroupEvidence.start(("a",)).update(["other"], 1, 0.0).n == 0


def _auroc(score: np.ndarray, outcome: np.ndarray) -> float:
    cases, controls = score[outcome == 1], score[outcome == 0]
    return float((cases[:, None] > controls[None, :]).mean())


def test_blocks_are_unbiased_for_the_difference_in_auroc() -> None:
    rng = np.random.default_rng(92)
    a, b, y = cohort((30_000,), rng)
    b = np.clip(b + 0.05 * rng.normal(size=b.size), 0, 1)
    evidence = ConcordanceEvidence.start()
    for champion, challenger, outcome in zip(a, b, y, strict=True):
        evidence = evidence.update(float(champion), float(challenger), int(outcome), 0.02)
    assert evidence.mean == pytest.approx(_auroc(b, y) - _auroc(a, y), abs=0.02)
    assert not evidence.non_inferiority.rejects(0.05), "0.05 of noise costs more AUROC than the margin"


def test_an_equal_ranking_is_proven_and_the_state_is_small() -> None:
    rng = np.random.default_rng(93)
    a, _, y = cohort((6000,), rng)
    evidence = ConcordanceEvidence.start()
    for champion, outcome in zip(a, y, strict=True):
        evidence = evidence.update(float(champion), float(champion) / 2, int(outcome), 0.02)
        if len(evidence.waiting) == 10:
            assert len(json.dumps(evidence.to_json())) < 1024
    assert evidence.non_inferiority.rejects(0.05)
    assert ConcordanceEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence
