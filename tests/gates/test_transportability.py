"""MP12: sites and periods."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clinical_assets.gates.performance.simultaneous import Estimate
from clinical_assets.gates.performance.transportability import cochran_q
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, release
from .simulated import run_checks, simulated_release

SITES = GatePolicy.with_overrides({"performance": {"site_column": "site"}})


@pytest.fixture(scope="module")
def two_sites():
    """A right model on 600 events; the patients alternate between two sites."""
    facts = simulated_release(release("colon"), np.random.default_rng(11), 600)

    def placed(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(site=np.where(np.arange(len(frame)) % 3 == 0, "Lyon", "Turin"))

    return replace(facts, train=placed(facts.train), test=placed(facts.test))


def judged(facts, policy=SITES):
    return run_checks(facts, ("MP12",), policy)["MP12"]


def turned_at(facts, site: str):
    """The ranking reversed at one site only."""

    def turned(predictions, frame):
        there = (frame["site"] == site).to_numpy()
        return replace(predictions, risk=np.where(there, 1.0 - predictions.risk, predictions.risk))

    return replace(facts, test_pred=turned(facts.test_pred, facts.test), oof=turned(facts.oof, facts.train))


def test_a_model_that_holds_everywhere_passes(two_sites):
    result = judged(two_sites)
    assert result.verdict is Verdict.PASS
    assert {row["group"] for row in result.details["site"]} == {"Lyon", "Turin"}


def test_a_site_where_it_ranks_the_wrong_way_round_blocks(two_sites):
    result = judged(turned_at(two_sites, "Lyon"))
    assert result.verdict is Verdict.BLOCK
    assert "in Lyon" in result.reason


def test_a_site_with_another_level_of_risk_warns(two_sites):
    higher = two_sites.test["site"] == "Lyon", two_sites.train["site"] == "Lyon"
    test, oof = (
        replace(predictions, risk=np.where(there, 0.6 * predictions.risk, predictions.risk))
        for predictions, there in zip((two_sites.test_pred, two_sites.oof), higher, strict=True)
    )
    result = judged(replace(two_sites, test_pred=test, oof=oof))
    assert result.verdict is Verdict.WARN
    assert "site: O/E" in result.reason


def test_sites_too_small_to_judge_are_said(two_sites):
    few = GatePolicy.with_overrides({"performance": {"site_column": "site", "min_site_events": 5000}})
    assert "no site has 5000 events" in judged(two_sites, few).reason


def test_a_declared_site_column_that_is_not_there_is_inconclusive():
    assert judged(release("colon")).verdict is Verdict.INCONCLUSIVE


def test_without_sites_and_dates_it_does_not_apply():
    assert "does not apply" in judged(release("colon"), POLICY).reason


def test_calendar_dates_make_three_periods():
    result = judged(release("rectum"), POLICY)
    assert [row["group"] for row in result.details["period"]] == ["first third", "last third", "second third"]
    assert result.verdict in (Verdict.PASS, Verdict.WARN)


def test_cochrans_q_is_that_of_a_worked_example():
    """Weights 4, 1, 1: the mean is 2, and Q = 4 (1-2)^2 + (3-2)^2 + (5-2)^2 = 14 on two degrees of freedom."""
    estimates = [Estimate(name, value, error, 9) for name, value, error in (("a", 1, 0.5), ("b", 3, 1), ("c", 5, 1))]
    assert cochran_q(estimates) == pytest.approx(np.exp(-14 / 2))
    assert cochran_q(estimates[:1]) is None
