"""Cohorts at the edge: no check of gate 2 crashes, and none passes a claim that it could not look at."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clinical_assets.gates.performance import gate as performance
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, found, release, select, with_frames
from .simulated import run_checks, simulated_release

CLAIMS = ("MP1", "MP2", "MP3", "MP5", "MP6", "MP9", "MP18")


def of_rows(facts, rows, train=None):
    tested = select(facts.test_pred, rows)
    cut = with_frames(facts, test=facts.test.iloc[rows].reset_index(drop=True), train=train)
    return replace(cut, test_pred=tested, reference_pred=tested, oof=None, reference_oof=None)


def no_events(facts):
    return of_rows(facts, np.flatnonzero(facts.test["event"] == 0))


def all_events(facts):
    return of_rows(facts, np.flatnonzero((facts.test["event"] == 1) & (facts.test["time"] <= 1826)))


def one_patient(facts):
    return of_rows(facts, np.array([0]))


@pytest.mark.parametrize("odd", [no_events, all_events, one_patient])
def test_sets_that_say_nothing_are_inconclusive(odd):
    report = performance.judge(odd(release("colon")), POLICY)
    assert not [check for check in report.checks if check.verdict is Verdict.ERROR]
    assert {found(report, id).verdict for id in CLAIMS} == {Verdict.INCONCLUSIVE}


def test_one_class_of_a_label():
    facts = release("breast_fna")
    report = performance.judge(of_rows(facts, np.flatnonzero(facts.test["label"] == 1)), POLICY)
    assert not [check for check in report.checks if check.verdict is Verdict.ERROR]
    assert found(report, "MP7").verdict is Verdict.INCONCLUSIVE


def test_forty_patients():
    report = performance.judge(of_rows(release("colon"), np.arange(40)), POLICY)
    assert not {check.verdict for check in report.checks} & {Verdict.ERROR, Verdict.BLOCK}


def test_one_risk_for_everybody_is_no_model_but_no_crash():
    facts = release("colon")
    survival = np.broadcast_to(facts.test_pred.survival.mean(axis=0), facts.test_pred.survival.shape)
    flat = replace(facts.test_pred, risk=1.0 - survival[:, -1], survival=survival)
    report = performance.judge(replace(facts, test_pred=flat), POLICY)
    assert not [check for check in report.checks if check.verdict is Verdict.ERROR]
    assert found(report, "MP18").verdict is Verdict.BLOCK


def test_few_kinds_of_patients_need_few_kinds_of_risk():
    """Two yes/no columns make four kinds of patients: four risks are all there can be."""
    facts = release("colon")
    names = [column.name for column in facts.contract.features]
    kinds = facts.test.copy()
    kinds[names] = kinds[names].iloc[0].to_numpy()
    kinds["sex"], kinds["node4"] = facts.test["sex"], facts.test["node4"]
    risk = np.where(kinds["sex"] == "male", 0.1, 0.0) + 0.3 * kinds["node4"].to_numpy() + 0.3
    survival = (1.0 - risk[:, None]) ** (facts.test_pred.times / facts.test_pred.times[-1])
    few = replace(facts.test_pred, risk=risk, survival=survival)
    report = performance.judge(replace(with_frames(facts, test=kinds), test_pred=few), POLICY)
    assert "distinct" in found(report, "MP18").reason
    assert found(report, "MP18").verdict is Verdict.PASS


def test_of_a_very_large_cohort_an_even_draw_of_patients_is_judged():
    facts = simulated_release(release("colon"), np.random.default_rng(0), 1500)
    ids = ("MP1", "MP5", "MP9")
    drawn = run_checks(facts, ids, GatePolicy.with_overrides({"performance": {"max_judged_patients": 800}}))
    everybody = run_checks(facts, ids, POLICY)
    assert {drawn[id].n for id in ids} == {800}
    assert drawn["MP1"].value == pytest.approx(everybody["MP1"].value, abs=0.06)
    assert not {result.verdict for result in drawn.values()} & {Verdict.ERROR, Verdict.BLOCK}
