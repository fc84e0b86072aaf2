"""The rules of gate 2 with sets of any size: right models pass, wrong ones are blocked once there is evidence."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, release
from .simulated import clock_times, hazards_times, run_checks, simulated_release, spread_times

STATISTICAL = ("MP1", "MP2", "MP3", "MP5", "MP6", "MP9", "MP18")


@pytest.mark.parametrize(("events", "releases"), [(20, 40), (60, 30)])
def test_a_right_model_is_hardly_ever_blocked_however_few_the_events(events, releases):
    """Measured over 1,000 releases a size: under 1 % for each check. At 1 % three here would be a 1 in 100 run."""
    blocked = Counter()
    for seed in range(releases):
        facts = simulated_release(release("colon"), np.random.default_rng([seed, events]), events)
        results = run_checks(facts, STATISTICAL, POLICY)
        blocked.update(id for id, result in results.items() if result.verdict in (Verdict.BLOCK, Verdict.ERROR))
    assert all(count < 3 for count in blocked.values()), blocked


@pytest.mark.parametrize(
    ("change", "id"),
    [
        (spread_times(2.0), "MP5"),
        (spread_times(3.0), "MP5"),
        (hazards_times(1.5), "MP5"),
        (hazards_times(1 / 1.6), "MP5"),
        (clock_times(0.8), "MP17"),
        (clock_times(1 / 0.8), "MP17"),
    ],
    ids=["spread x2", "spread x3", "hazards x1.5", "hazards / 1.6", "clock x0.8", "clock x1.25"],
)
def test_a_wrong_model_is_blocked_from_a_hundred_events(change, id):
    blocked = 0
    for seed in range(8):
        facts = simulated_release(release("colon"), np.random.default_rng([seed, 120]), 120, change=change)
        blocked += run_checks(facts, (id,), POLICY)[id].verdict is Verdict.BLOCK
    assert blocked >= 7


def test_evidence_that_neither_set_holds_alone_counts_together():
    """Without a reference model to compare with, the level is judged by outcomes alone."""
    alone = together = 0
    for seed in range(10):
        facts = simulated_release(release("colon"), np.random.default_rng([seed, 200]), 200, change=hazards_times(1.5))
        unaided = replace(facts, reference_pred=facts.test_pred, reference_oof=facts.oof)
        reason = run_checks(unaided, ("MP5",), POLICY)["MP5"].reason
        together += "on all sets together" in reason
        alone += " on test: the level" in reason
    assert together >= 6
    assert alone <= 3


def test_a_small_set_outside_the_band_is_inconclusive_not_blocked():
    facts = simulated_release(release("colon"), np.random.default_rng(3), 24, change=hazards_times(1.3))
    unaided = replace(facts, reference_pred=facts.test_pred, reference_oof=facts.oof)
    assert run_checks(unaided, ("MP5",), POLICY)["MP5"].verdict is Verdict.INCONCLUSIVE


def test_the_reference_model_shows_a_wrong_level_where_outcomes_are_too_few():
    facts = simulated_release(release("colon"), np.random.default_rng(3), 60, change=hazards_times(1.5))
    result = run_checks(facts, ("MP5",), POLICY)["MP5"]
    assert result.verdict is Verdict.BLOCK
    assert "the outcomes side with penalised Cox" in result.reason


def test_a_reference_model_that_is_off_itself_blocks_nothing():
    facts = simulated_release(release("colon"), np.random.default_rng(5), 400)
    wrong = hazards_times(1.6)
    off = replace(facts, reference_pred=wrong(facts.reference_pred), reference_oof=wrong(facts.reference_oof))
    assert run_checks(off, ("MP5",), POLICY)["MP5"].verdict is not Verdict.BLOCK
