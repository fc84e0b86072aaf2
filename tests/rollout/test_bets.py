"""The mixture martingale: closed forms, exactness, replay, refusals."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.rollout.evidence.bets import FRACTION_WEIGHTS, FRACTIONS, EProcess, bet, bounded_mean

from .simulation import bets

unit = st.floats(-1, 1, allow_nan=False)


def test_one_observation_gives_the_closed_form() -> None:
    process = bet(bounded_mean(), 0.2, -0.5)
    assert process.e == pytest.approx(0.3 * (1 + 0.5 * 0.4) + 0.7 * (1 + 0.99 * 0.4), rel=1e-14)


@given(st.lists(unit, max_size=60))
def test_the_state_equals_the_vectorised_product(observations: list[float]) -> None:
    process = bounded_mean()
    for w in observations:
        process = bet(process, w, -1.0)
    if observations:
        path = bets(np.array([observations]), -1.0, FRACTIONS, FRACTION_WEIGHTS)[0]
        assert process.log_e == pytest.approx(path[-1], abs=1e-9)
        assert process.log_peak == pytest.approx(max(0.0, path.max()), abs=1e-9)


@given(st.floats(0.001, 0.999), st.floats(0.05, 1.0))
def test_a_fair_bet_has_expectation_one_for_every_two_point_law(p: float, lo: float) -> None:
    """W = -lo with chance 1-p and lo (1-p)/p with chance p has mean 0."""
    up = lo * (1 - p) / p
    expected = (1 - p) * bet(bounded_mean(), -lo, -lo).e + p * bet(bounded_mean(), up, -lo).e
    assert expected == pytest.approx(1.0, rel=1e-9)


@given(st.lists(unit, min_size=1, max_size=40), st.integers(0, 40))
def test_stopping_and_resuming_through_json_is_bit_identical(observations: list[float], cut: int) -> None:
    whole, parts = bounded_mean(), bounded_mean()
    for index, w in enumerate(observations):
        whole, parts = bet(whole, w, -1.0), bet(parts, w, -1.0)
        if index == cut:
            parts = EProcess.from_json(json.loads(json.dumps(parts.to_json())))
    assert parts == whole


def test_a_rejection_is_kept() -> None:
    process = bounded_mean()
    for _ in range(8):
        process = bet(process, 1.0, -1.0)
    for _ in range(50):
        process = bet(process, -1.0, -1.0)
    assert process.e < 1e-6
    assert process.rejects(0.05)


def test_the_state_of_a_test_is_small() -> None:
    process = bounded_mean()
    for _ in range(1000):
        process = bet(process, 0.123456789, -1.0)
    assert len(json.dumps(process.to_json())) < 1024
    assert math.isfinite(process.log_e)


@pytest.mark.parametrize(("w", "lo"), [(-0.6, -0.5), (0.1, 0.0), (float("nan"), -1.0)])
def test_an_observation_outside_its_bound_is_refused(w: float, lo: float) -> None:
    with pytest.raises(ValueError, match="lower bound"):
        bet(bounded_mean(), w, lo)


def test_infinite_factors_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        bounded_mean().multiply((0.0, math.inf))
