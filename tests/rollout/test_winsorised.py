"""Sharper non-inferiority: cutting off with a tail bound from unlabelled patients, the leash, the conditional test."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.rollout.evidence.conditional import MULTIPLES, ConditionalEvidence
from clinical_assets.rollout.evidence.leash import RADIUS, leashed, loss_bound
from clinical_assets.rollout.evidence.winsorised import (
    CLIP,
    Source,
    WinsorisedEvidence,
    tail,
    tail_bound,
)

from .patients import MARGIN, cohort

risk = st.floats(0, 1)
outcomes = st.sampled_from([0, 1])


@given(risk, risk, outcomes, st.floats(0, 2.5))
def test_a_difference_never_exceeds_the_clip_by_more_than_its_tail(a: float, b: float, y: int, weight: float) -> None:
    z = weight * ((b - y) ** 2 - (a - y) ** 2)
    assert z <= min(z, CLIP) + float(tail(b, a, 2.5)) + 1e-12


def test_the_tail_bound_misses_the_mean_no_more_often_than_promised() -> None:
    """Rare tails, the hard case: 400 pools of 500 with a tail in 2 % of the patients."""
    rng = np.random.default_rng(60)
    tails = np.where(rng.uniform(size=(400, 500)) < 0.02, 0.5, 0.0)
    missed = np.mean([tail_bound(pool) < 0.01 for pool in tails])
    assert missed <= 0.02


def test_the_tail_bound_of_an_empty_tail_has_a_closed_form() -> None:
    """No tail in n patients: the mixture over bets reaches 100 at eta."""
    n, widest = 20_000, 1 - CLIP
    eta = tail_bound(np.zeros(n))
    wealth = [(1 + f * eta / (widest - eta)) ** n for f in (0.1, 0.3, 0.99)]
    assert sum(wealth) / 3 == pytest.approx(100, rel=1e-6)
    assert eta < 0.1 * MARGIN


def test_more_patients_in_the_pool_give_a_tighter_bound() -> None:
    champion, challenger, _ = cohort((20_000,), np.random.default_rng(61))
    tails = tail(challenger, champion)
    bounds = [tail_bound(tails[:n]) for n in (2_000, 5_000, 20_000)]
    assert bounds == sorted(bounds, reverse=True)
    assert tails.mean() < bounds[-1] < 0.15 * MARGIN


def test_an_equal_model_is_proven_sooner_than_by_the_plain_test() -> None:
    """Published medians: 600 with a pool of 20,000, 1,000 plain."""
    rng = np.random.default_rng(62)
    pool = cohort((20_000,), rng)
    eta = tail_bound(tail(pool[1], pool[0]))
    found = []
    for _ in range(15):
        evidence = WinsorisedEvidence.start(eta, MARGIN)
        a, b, y = cohort((1400,), rng)
        z, h = (b - y) ** 2 - (a - y) ** 2, tail(b, a)
        n = 0
        while not evidence.proves(0.05) and n < z.size:
            evidence = evidence.update(float(z[n]), float(h[n]), MARGIN)
            n += 1
        found.append(n)
        assert WinsorisedEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence
        assert len(json.dumps(evidence.to_json())) < 1024
    assert 450 <= np.median(found) <= 800


def test_a_subgroup_that_the_pool_never_saw_trips_the_guard() -> None:
    rng = np.random.default_rng(63)
    pool = cohort((20_000,), rng)
    evidence = WinsorisedEvidence.start(tail_bound(tail(pool[1], pool[0])), MARGIN)
    for heavy in rng.uniform(size=3000) < 0.0045:
        a, b = (0.95, 0.02) if heavy else (0.1, 0.1)
        y = int(rng.uniform() < (0.95 if heavy else 0.1))
        evidence = evidence.update((b - y) ** 2 - (a - y) ** 2, float(tail(b, a)), MARGIN)
    assert evidence.guarded_off
    assert evidence.log_e == pytest.approx(math.log(0.25) + evidence.plain.log_e)


@pytest.mark.parametrize(
    ("eta", "site", "at"), [(MARGIN, "Basel", 99.0), (MARGIN / 10, "Geneva", 99.0), (MARGIN / 10, "Basel", 101.0)]
)
def test_a_wide_bound_another_site_or_a_later_period_leave_only_the_plain_quarter(
    eta: float, site: str, at: float
) -> None:
    evidence = WinsorisedEvidence.start(eta, MARGIN, Source(("Basel",), 100.0))
    evidence = evidence.seen_at(site, at).update(-0.5, 0.0, MARGIN)
    assert evidence.log_e == pytest.approx(math.log(0.25) + evidence.plain.log_e)
    assert WinsorisedEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence
    represented = WinsorisedEvidence.start(MARGIN / 10, MARGIN, Source(("Basel",), 100.0)).seen_at("Basel", 99.0)
    assert not represented.guarded_off


@given(risk, risk, outcomes, st.floats(0.05, 1))
def test_a_leashed_model_differs_by_no_more_than_its_bound(a: float, b: float, y: int, radius: float) -> None:
    held = leashed(b, a, radius)
    assert abs(held - a) <= radius + 1e-12
    assert 0 <= held <= 1
    assert abs((held - y) ** 2 - (a - y) ** 2) <= loss_bound(radius) + 1e-12


def test_the_leash_triples_the_largest_bet() -> None:
    assert 1 / loss_bound(RADIUS) > 3


@given(risk, risk, st.floats(0.001, 0.999), st.floats(0.1, 30.0), st.floats(0.5, 2))
def test_the_conditional_factor_is_fair_whatever_the_true_risk(
    a: float, b: float, q: float, unit: float, weight: float
) -> None:
    """E_q[factor] <= exp(lam E[W | x]): enumerated over both outcomes."""
    start = ConditionalEvidence(unit, ConditionalEvidence.start(MARGIN, 0.001).non_inferiority)
    after = [start.update(b, a, y, MARGIN, weight).non_inferiority.log_wealth for y in (0, 1)]
    mean_w = MARGIN - weight * (q * ((b - 1) ** 2 - (a - 1) ** 2) + (1 - q) * (b**2 - a**2))
    for k, multiple in enumerate(MULTIPLES):
        expected = (1 - q) * math.exp(after[0][k]) + q * math.exp(after[1][k])
        assert expected <= math.exp(multiple * unit * mean_w) * (1 + 1e-9)


def test_the_conditional_test_reaches_an_equal_model_fastest() -> None:
    """Published median 450; it speaks of the patients seen only."""
    rng = np.random.default_rng(64)
    a, b, _ = cohort((5000,), rng)
    gap = float((4 * (b - a) ** 2 * a * (1 - a)).mean())
    found = []
    for _ in range(15):
        evidence = ConditionalEvidence.start(MARGIN, gap)
        n = 0
        for champion, challenger, y in zip(*cohort((1500,), rng), strict=True):
            evidence = evidence.update(float(challenger), float(champion), int(y), MARGIN)
            n += 1
            if evidence.non_inferiority.rejects(0.05):
                break
        found.append(n)
    assert 300 <= np.median(found) <= 650
    assert ConditionalEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence
