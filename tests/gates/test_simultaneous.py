"""A block needs an estimate beyond what is accepted *and* a joint interval that excludes a sound model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from clinical_assets.gates.performance.simultaneous import BOTH, Estimate, evidence_above, evidence_below, pooled


def test_the_joint_interval_is_students_at_the_shared_out_level():
    low, high = Estimate("test", 1.0, 0.2, events=11).bounds(0.99, looks=5)
    reach = 0.2 * t.ppf(1 - 0.01 / 10, 10)
    assert (low, high) == pytest.approx((1.0 - reach, 1.0 + reach))


def test_few_events_and_many_looks_widen_the_interval():
    def reach(events: int, looks: int) -> float:
        return Estimate("test", 0.0, 1.0, events).bounds(0.99, looks)[1]

    assert reach(5, 1) > reach(50, 1) > reach(5000, 1)
    assert reach(50, 6) > reach(50, 1)


def test_the_pool_is_the_inverse_variance_mean():
    one, other = Estimate("test", 1.0, 0.5, 10), Estimate("out of fold", 2.0, 1.0, 40)
    both = pooled([one, other])[-1]
    assert both.name == BOTH
    assert both.value == pytest.approx((1.0 * 4 + 2.0 * 1) / 5)
    assert both.error == pytest.approx(5**-0.5)
    assert both.events == int(25 / (16 / 9 + 1 / 39)) + 1


def test_what_does_not_exist_is_left_out_and_one_set_is_no_pool():
    known = Estimate("test", 1.0, 0.5, 10)
    assert pooled([known, Estimate("out of fold", float("nan"), 1.0, 5)]) == [known]
    assert pooled([Estimate("test", 0.0, 0.0, 10)]) == []


def test_neither_a_point_outside_nor_an_interval_alone_is_evidence():
    outside_by_chance = Estimate("test", -0.5, 0.3, 100)
    immaterial = Estimate("test", -0.05, 0.01, 1000)
    material = Estimate("test", -0.5, 0.05, 1000)
    assert evidence_below([outside_by_chance], 0.0, -0.2, 0.99, 1) is None
    assert evidence_below([immaterial], 0.0, -0.2, 0.99, 1) is None
    assert evidence_below([outside_by_chance, material], 0.0, -0.2, 0.99, 2) == material
    assert evidence_above([Estimate("test", 0.5, 0.05, 1000)], 0.0, 0.2, 0.99, 1) == Estimate("test", 0.5, 0.05, 1000)


@pytest.mark.parametrize("events", [6, 20, 200])
def test_sound_models_are_called_faulty_less_often_than_the_level_allows(events):
    """Two sets and their pool; errors estimated from as many values as there are events."""
    rng = np.random.default_rng(events)
    blocked = 0
    for values in rng.normal(size=(2000, 2, events)):
        sets = pooled(
            [
                Estimate(name, float(row.mean()), float(row.std(ddof=1) / events**0.5), events)
                for name, row in zip(("test", "out of fold"), values, strict=True)
            ]
        )
        blocked += any(evidence(sets, 0.0, 0.0, 0.99, 3) is not None for evidence in (evidence_below, evidence_above))
    assert blocked / 2000 < 0.016
