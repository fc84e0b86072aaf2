"""The tests against other people's code: gsdesign's numerical integration and savvi's multinomial test."""

from __future__ import annotations

import numpy as np
import pytest
from gsdesign import gridpts, h1, hupdate
from savvi.multinomial import Multinomial

from clinical_assets.rollout.evidence.srm import assign, sample_ratio

from .patients import differences
from .simulation import bets, ever

LOOKS = 10


def crossing_probability(boundary: np.ndarray, drift: float) -> float:
    """Chance that a Brownian motion with `drift` per unit of information exceeds the z-boundary at any look."""
    total = 0.0
    grid = None
    for look, bound in enumerate(boundary, start=1):
        if grid is None:
            beyond = h1(theta=drift, info=1.0, a=bound)
            below = h1(theta=drift, info=1.0, b=bound)
        else:
            beyond = hupdate(18, drift, float(look), bound, np.inf, drift, look - 1.0, grid)
            below = hupdate(18, drift, float(look), -np.inf, bound, drift, look - 1.0, grid)
        total += float(np.sum(beyond[2]))
        grid = below
    return total


@pytest.mark.parametrize("worse", [0, 10])
def test_a_single_bet_crosses_as_often_as_group_sequential_integration_says(worse: int) -> None:
    """log E of one small bet is lam S - lam^2 V / 2: its threshold is a line that gsdesign can integrate."""
    fraction, alpha, between = 0.4, 0.2, 100
    z = differences((4000, LOOKS * between), np.random.default_rng(20 + worse), worse)
    mean, variance = z.mean(), z.var()
    information = np.arange(1, LOOKS + 1) * between * variance
    line = -np.log(alpha) / fraction + fraction * np.arange(1, LOOKS + 1) * between * (variance + mean**2) / 2
    expected = crossing_probability(line / np.sqrt(information), mean * np.sqrt(between / variance))
    looked = bets(z, -1.0, (fraction,), (1.0,))[:, between - 1 :: between]
    assert ever(looked, alpha) == pytest.approx(expected, abs=0.03)


def test_naive_repeated_looks_are_wrong_as_often_as_integration_says() -> None:
    """What the e-process replaces: z > 1.645 at any of ten looks. Also proves that the simulation would see errors."""
    z = differences((4000, LOOKS * 100), np.random.default_rng(21))
    sums = z.cumsum(axis=1)[:, 99::100]
    n = np.arange(1, LOOKS + 1) * 100
    wrong = float((sums / np.sqrt(n * z.var()) > 1.645).any(axis=1).mean())
    assert wrong == pytest.approx(crossing_probability(np.full(LOOKS, 1.645), 0.0), abs=0.02)
    assert wrong > 0.15


def test_gsdesign_grid_integrates_the_normal_density() -> None:
    points, weights = gridpts()
    assert np.sum(weights * np.exp(-(points**2) / 2) / np.sqrt(2 * np.pi)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("share", "mismatch"), [(0.25, False), (0.35, True)])
def test_sample_ratio_agrees_with_the_dirichlet_mixture_of_savvi(share: float, mismatch: bool) -> None:
    rng = np.random.default_rng(22)
    ours, theirs = sample_ratio(), Multinomial(0.001, np.array([0.25, 0.75]))
    found = {}
    for n, challenger in enumerate(rng.uniform(size=2000) < share, start=1):
        ours = assign(ours, bool(challenger), 0.25)
        theirs.update(np.array([int(challenger), int(not challenger)]))
        if ours.rejects(0.001):
            found.setdefault("ours", n)
        if theirs.odds >= 1000:
            found.setdefault("theirs", n)
    assert set(found) == ({"ours", "theirs"} if mismatch else set())
    if mismatch:
        assert 0.5 <= found["ours"] / found["theirs"] <= 2.0
