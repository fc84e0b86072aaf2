"""Survival evidence from day one: exact for any true hazard, and no promotion on early follow-up alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from clinical_assets.rollout.evidence.hazard import (
    BAND_EDGES,
    BETS,
    HazardEvidence,
    HazardShape,
    cumulative_hazard,
    hazard_shape,
    log_ratio,
)

from .patients import INTERCEPT, SHIFT, SLOPE, score, sigmoid


@pytest.mark.parametrize(("a", "b"), [(0.1, 0.2), (0.3, 0.1), (0.05, 0.9), (0.4, 0.4)])
@pytest.mark.parametrize("true", [0.02, 0.2, 0.6])
def test_a_patient_s_factor_is_fair_against_its_expected_score(a: float, b: float, true: float) -> None:
    """Over many small intervals E[factor] = exp(-lam E[score difference accumulated while at risk]) by integration."""
    hazard, steps, share = cumulative_hazard(true), 4000, 1.0
    r, expected, excess = log_ratio(b, a), cumulative_hazard(a), cumulative_hazard(b) - cumulative_hazard(a)
    t = (np.arange(steps) + 0.5) / steps
    density = hazard * np.exp(-hazard * t) / steps
    for k, lam in enumerate(BETS):
        with_event = [(1 - lam * r) * math.exp(lam * excess * s) for s in t]
        mean = float(np.dot(density, with_event)) + math.exp(-hazard) * math.exp(lam * excess)
        # the compensated product has mean 1: divide by exp(drift * time at risk)
        drift = lam * excess - lam * r * hazard
        compensated = [(1 - lam * r) * math.exp((lam * excess - drift) * s) for s in t]
        fair = float(np.dot(density, compensated)) + math.exp(-hazard) * math.exp(lam * excess - drift)
        assert fair == pytest.approx(1.0, abs=2e-3)
        assert mean <= 1 + 1e-3 or drift > 0
        moved = HazardEvidence.start().update(b, a, 0, False, share, 0.1)
        assert moved.harm.log_wealth[k] == pytest.approx(lam * excess)
        assert moved.non_inferiority.log_wealth[k] == pytest.approx(lam * (0.1 * expected - excess))


def _follow(rng: np.random.Generator, n: int, worse: int) -> HazardEvidence:
    """`n` patients to the horizon with a fifth censored on the way, in order of entry."""
    x = rng.normal(size=n)
    a, b = score(x, rng), score(x, rng, SHIFT[worse])
    until = rng.exponential(1 / -np.log1p(-sigmoid(INTERCEPT + SLOPE * x)))
    censored = rng.exponential(1 / -np.log(0.8), size=n)
    evidence, shape = HazardEvidence.start(), HazardShape()
    for i in range(n):
        for band, edge in enumerate(BAND_EDGES):
            start = 0.0 if band == 0 else BAND_EDGES[band - 1]
            left = min(until[i], censored[i])
            if left <= start:
                break
            event = until[i] <= min(edge, censored[i])
            share = float(shape.within(band, min(left, edge)))
            evidence = evidence.update(float(b[i]), float(a[i]), band, bool(event), share, 0.1)
    return evidence


def test_a_much_worse_model_is_found_and_an_equal_one_is_not() -> None:
    rng = np.random.default_rng(70)
    assert _follow(rng, 900, 25).harm.rejects(0.015 / 2)
    assert sum(_follow(rng, 600, 0).harm.rejects(0.05) for _ in range(12)) <= 2


def test_an_equal_model_is_proven_and_covers_every_band() -> None:
    evidence = _follow(np.random.default_rng(71), 3000, 0)
    assert evidence.non_inferiority.rejects(0.05)
    assert evidence.covers_follow_up(20)
    assert HazardEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence
    assert len(json.dumps(evidence.to_json())) < 1024


def test_early_events_alone_do_not_cover_the_follow_up() -> None:
    evidence = HazardEvidence.start()
    for _ in range(100):
        evidence = evidence.update(0.2, 0.2, 0, True, 0.05, 0.1)
    assert evidence.events == (100, 0, 0, 0, 0)
    assert not evidence.covers_follow_up(1)


def test_an_extreme_score_stays_finite() -> None:
    evidence = HazardEvidence.start().update(1.0, 0.0, 0, True, 1.0, 0.1).update(0.0, 1.0, 0, True, 1.0, 0.1)
    assert math.isfinite(evidence.harm.log_e)


def test_the_hazard_shape_is_nelson_aalen_at_the_band_edges() -> None:
    from lifelines import NelsonAalenFitter

    rng = np.random.default_rng(72)
    times, events = rng.weibull(0.7, 3000) * 800, rng.uniform(size=3000) < 0.7
    shape = hazard_shape(times.tolist(), events.astype(int).tolist(), 1000.0)
    fitted = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(times, events)
    at = fitted.cumulative_hazard_at_times([1000 * e for e in BAND_EDGES]).to_numpy()
    assert np.allclose(shape.shares, at / at[-1], atol=0.012)
    assert shape.shares[0] > BAND_EDGES[0], "a falling hazard puts more of it early"
    whole = sum(shape.within(band, 1.0) for band in range(len(BAND_EDGES)))
    assert whole == pytest.approx(1.0)


def test_a_shape_that_does_not_rise_is_refused() -> None:
    with pytest.raises(ValueError, match="rising shares"):
        HazardShape((0.5, 0.5, 0.6, 0.7, 1.0))
