"""MP14 and MP20: the gap to unseen patients, and what a prediction costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, release, select, with_frames
from .simulated import run_checks


def judged(facts, id, policy=POLICY):
    return run_checks(facts, (id,), policy)[id]


def test_a_penalised_model_hardly_loses_on_unseen_patients():
    result = judged(release("colon"), "MP14")
    assert result.verdict is Verdict.PASS
    expected = 1 - result.details["out of fold"] / result.details["training"]
    assert result.value == pytest.approx(expected)


def test_a_model_that_knows_its_training_patients_by_heart_warns():
    facts = release("colon")
    by_heart = 1.0 / facts.train["time"].to_numpy()
    result = judged(replace(facts, serve_score=lambda rows: by_heart[: len(rows)]), "MP14")
    assert result.verdict is Verdict.WARN
    assert result.value > 0.25


def test_nothing_to_compare_is_inconclusive():
    facts, rows = release("colon"), np.arange(6)
    few = replace(with_frames(facts, test=facts.test.iloc[rows]), test_pred=select(facts.test_pred, rows), oof=None)
    assert judged(few, "MP14").verdict is Verdict.INCONCLUSIVE
    assert judged(replace(facts, serve_score=None), "MP14").verdict is Verdict.INCONCLUSIVE


def test_time_and_memory_are_measured_and_a_slow_or_large_scorer_warns():
    measured = judged(release("colon"), "MP20")
    assert measured.value > 0
    assert measured.details["peak_mib"] > 0
    assert measured.details["artifact_mib"] > 0
    strict = GatePolicy.with_overrides({"performance": {"latency_p95_ms": 1e-6}})
    assert judged(release("colon"), "MP20", strict).verdict is Verdict.WARN
    facts = release("colon")
    hungry = replace(facts, serve_score=lambda rows: np.ones((len(rows), 50_000)).mean(axis=1))
    assert judged(hungry, "MP20").verdict is Verdict.WARN
    assert judged(replace(facts, serve_score=None), "MP20").verdict is Verdict.INCONCLUSIVE
