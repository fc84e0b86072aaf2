"""False decisions at any stopping time stay within alpha; detection is as fast as published for the same generator.

Looks after every patient, alpha .05, standard error of a rate at most .009; tolerance three of them.
"""

from __future__ import annotations

import numpy as np
import pytest

from clinical_assets.rollout.evidence.bets import FRACTION_WEIGHTS, FRACTIONS
from clinical_assets.rollout.evidence.errors import BROKEN, MULTIPLES
from clinical_assets.rollout.evidence.split import KAPPAS

from .patients import BRIER, MARGIN, cohort, differences
from .simulation import bets, delay, ever, log_e

ALPHA, TOLERANCE = 0.05, 0.025
THIRDS = (1 / 3, 1 / 3, 1 / 3)


def harm(z: np.ndarray, bound: float = 1.0) -> np.ndarray:
    return bets(z, -bound, FRACTIONS, FRACTION_WEIGHTS)


def non_inferior(z: np.ndarray, margin: float = MARGIN, bound: float = 1.0) -> np.ndarray:
    return bets(margin - z, margin - bound, FRACTIONS, FRACTION_WEIGHTS)


def test_the_generator_is_the_published_one() -> None:
    champion, challenger, outcome = cohort((200_000,), np.random.default_rng(1))
    ranks = champion.argsort().argsort()[outcome == 1]
    cases = int(outcome.sum())
    auroc = (ranks.sum() - cases * (cases - 1) / 2) / (cases * (outcome.size - cases))
    assert outcome.mean() == pytest.approx(0.10, abs=0.005)
    assert auroc == pytest.approx(0.79, abs=0.01)
    assert ((champion - outcome) ** 2).mean() == pytest.approx(BRIER, abs=0.001)
    assert differences((200_000,), np.random.default_rng(1)).var() == pytest.approx(0.001, abs=0.0004)
    worse = ((cohort((200_000,), np.random.default_rng(1), 25)[1] - outcome) ** 2).mean()
    assert worse / BRIER == pytest.approx(1.25, abs=0.02)
    assert challenger.shape == champion.shape


def test_an_equal_model_is_rarely_called_harmful() -> None:
    assert ever(harm(differences((1000, 2500), np.random.default_rng(2))), ALPHA) <= ALPHA


def test_a_model_at_the_margin_is_rarely_called_non_inferior() -> None:
    z = differences((1000, 2500), np.random.default_rng(3))
    at_margin = z + (MARGIN - z.mean())
    assert ever(non_inferior(at_margin, bound=1.01), ALPHA) <= ALPHA + TOLERANCE


def test_a_rare_heavy_subgroup_does_not_fool_non_inferiority() -> None:
    """A few patients of high risk whom the challenger scores near zero carry the whole loss."""
    rng = np.random.default_rng(4)
    z = differences((800, 2500), rng)
    z -= z.mean()
    rare = rng.uniform(size=z.shape) < 0.0045
    heavy = np.where(rng.uniform(size=z.shape) < 0.95, 0.98**2 - 0.05**2, 0.02**2 - 0.95**2)
    mixed = np.where(rare, heavy, z)
    mixed += MARGIN - mixed.mean()
    assert ever(non_inferior(mixed, bound=1.02), ALPHA) <= ALPHA + TOLERANCE


def test_delays_in_shadow_match_the_published_medians() -> None:
    """Published for looks every 50 patients: harm +10 % 675, +25 % 300, equal model proven at 1,000."""
    rng = np.random.default_rng(5)
    assert 520 <= np.median(delay(harm(differences((400, 2500), rng, 10)), ALPHA)) <= 800
    assert 200 <= np.median(delay(harm(differences((400, 1200), rng, 25)), ALPHA)) <= 350
    proven = delay(non_inferior(differences((400, 2500), rng)), ALPHA)
    assert 850 <= np.median(proven) <= 1100
    assert (proven <= 2500).mean() > 0.95


@pytest.mark.parametrize("worse", [0, 5])
def test_censored_follow_up_keeps_both_error_rates(worse: int) -> None:
    """Independent censoring with a known curve: weights 1/G for events and survivors, 0 for the censored."""
    rng = np.random.default_rng(6 + worse)
    champion, challenger, outcome = cohort((800, 2000), rng, worse)
    kept_to_horizon, cap = 0.8, 4.0
    rate = -np.log(kept_to_horizon)
    event_time = np.where(outcome == 1, rng.uniform(size=outcome.shape), np.inf)
    censored_at = rng.exponential(1 / rate, size=outcome.shape)
    until = np.minimum(event_time, 1.0)
    weight = np.where(censored_at >= until, np.minimum(1 / np.exp(-rate * until), cap), 0.0)
    z = weight * ((challenger - outcome) ** 2 - (champion - outcome) ** 2)
    bound = min(1 / kept_to_horizon, cap)
    if worse:
        shifted = z + (MARGIN - z.mean())
        assert ever(non_inferior(shifted, bound=bound + 0.01), ALPHA) <= ALPHA + TOLERANCE
    else:
        assert ever(harm(z, bound), ALPHA) <= ALPHA + TOLERANCE


@pytest.mark.parametrize("both_scores", [False, True])
def test_the_split_holds_alpha_through_the_ramp(both_scores: bool) -> None:
    assert ever(_split(np.random.default_rng(8), (600, 3000), 0, both_scores), ALPHA) <= ALPHA + TOLERANCE


def test_both_scores_find_harm_in_the_split_sooner() -> None:
    """Published for a 50/50 split, +25 %: 2,200 patients with the own score (centred), 1,675 with both."""
    own = np.median(delay(_split(np.random.default_rng(9), (200, 6000), 25, False, ramp=False), ALPHA))
    both = np.median(delay(_split(np.random.default_rng(9), (200, 6000), 25, True, ramp=False), ALPHA))
    assert both < own
    assert 1200 <= both <= 2100


def test_service_objective_and_ratio_hold_alpha() -> None:
    rng, p0 = np.random.default_rng(10), 0.002
    errors = rng.binomial(20, p0, size=(1000, 500))
    rates = [min(m * p0, BROKEN) for m in MULTIPLES] + [BROKEN]
    factors = np.stack([errors * np.log(p / p0) + (20 - errors) * np.log((1 - p) / (1 - p0)) for p in rates])
    assert ever(log_e(factors, (0.25,) * 4), ALPHA) <= ALPHA + TOLERANCE
    champion, challenger = rng.binomial(18, 0.02, size=(1000, 500)), rng.binomial(2, 0.02, size=(1000, 500))
    factors = []
    for ratio in (1.5, 3.0, 10.0):
        q = 0.1 * ratio / (0.1 * ratio + 0.9)
        factors.append(challenger * np.log(q / 0.1) + champion * np.log((1 - q) / 0.9))
    assert ever(log_e(np.stack(factors), THIRDS), ALPHA) <= ALPHA + TOLERANCE


def test_a_tenfold_error_rate_is_found_within_900_requests() -> None:
    """Errors rise from .1 % to 1 %; the objective is .2 %, alpha .01."""
    rng, p0 = np.random.default_rng(11), 0.002
    errors = (rng.uniform(size=(500, 3000)) < 0.01).astype(float)
    rates = [min(m * p0, BROKEN) for m in MULTIPLES] + [BROKEN]
    factors = np.stack([errors * np.log(p / p0) + (1 - errors) * np.log((1 - p) / (1 - p0)) for p in rates])
    assert np.median(delay(log_e(factors, (0.25,) * 4), 0.01)) <= 900


def _split(
    rng: np.random.Generator, shape: tuple[int, int], worse: int, both_scores: bool, ramp: bool = True
) -> np.ndarray:
    champion, challenger, outcome = cohort(shape, rng, worse)
    steps = np.array([0.05, 0.10, 0.25, 0.5])
    pi = np.repeat(steps, shape[1] // 4)[None, :] if ramp else np.full((1, shape[1]), 0.5)
    arm = rng.uniform(size=shape) < pi
    loss = (np.where(arm, challenger, champion) - outcome) ** 2
    centre = np.full(shape, BRIER)
    if both_scores:
        loss_a = champion**2 + champion * (1 - 2 * champion)
        loss_b = challenger**2 + champion * (1 - 2 * challenger)
        centre = (1 - pi) * loss_b + pi * loss_a
    z = (loss - centre) * np.where(arm, 1 / pi, -1 / (1 - pi))
    return log_e(np.stack([np.log1p(k * pi * (1 - pi) * z) for k in KAPPAS]), THIRDS)
