"""Drift of scores, slow answers, and the detector of the watch."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.special import gammaln

from clinical_assets.rollout.evidence.detector import EDetector
from clinical_assets.rollout.evidence.drift import (
    BINS,
    PRIOR,
    DriftEvidence,
    ScoreReference,
    score_reference,
    tie_breaker,
)
from clinical_assets.rollout.evidence.latency import LatencyEvidence, SlowRate, slow_rates, slower_than


def _drift(reference: ScoreReference, scores: np.ndarray) -> DriftEvidence:
    evidence = DriftEvidence.start(reference)
    for i, score in enumerate(scores):
        evidence = evidence.update(reference, float(score), tie_breaker("t", str(i)))
    return evidence


def test_drift_evidence_is_the_dirichlet_multinomial_ratio() -> None:
    reference = score_reference(np.random.default_rng(80).beta(1, 8, 500).tolist())
    evidence = _drift(reference, np.random.default_rng(81).beta(1, 8, 300))
    counts, total = np.array(evidence.ranks), BINS * PRIOR
    closed = gammaln(total) - gammaln(total + 300) + (gammaln(counts + PRIOR) - gammaln(PRIOR)).sum()
    assert evidence.log_e == pytest.approx(closed + 300 * math.log(BINS), abs=1e-8)


@pytest.mark.parametrize("size", [20, 2000])
def test_ranks_are_uniform_even_against_a_small_reference(size: int) -> None:
    """Exact whatever the reference: false alarms at .05 over 150 streams, and uniform bins in sum."""
    rng = np.random.default_rng(82 + size)
    alarms, ranks = 0, np.zeros(BINS)
    for _ in range(150):
        reference = score_reference(rng.beta(1, 8, size).tolist())
        evidence = _drift(reference, rng.beta(1, 8, 200))
        alarms += evidence.rejects(0.05)
        ranks += evidence.ranks
    assert alarms <= 14
    assert np.allclose(ranks / ranks.sum(), 1 / BINS, atol=0.025)


def test_a_shift_is_found_with_its_effect_size() -> None:
    rng = np.random.default_rng(83)
    reference = score_reference(rng.beta(1, 8, 5000).tolist())
    shifted = _drift(reference, rng.beta(2, 8, 600))
    assert shifted.rejects(0.005)
    assert shifted.stability_index(reference) > 0.25
    same = _drift(reference, rng.beta(1, 8, 600))
    assert same.stability_index(reference) < 0.1
    assert DriftEvidence.from_json(json.loads(json.dumps(same.to_json()))) == same
    assert len(json.dumps(same.to_json())) < 1024


def test_psi_equals_its_formula() -> None:
    reference = ScoreReference((0.5,), (60, 40))
    evidence = _drift(reference, np.array([0.1] * 30 + [0.9] * 70))
    was, now = np.array([60.5, 40.5]) / 101, np.array([30.5, 70.5]) / 101
    assert evidence.stability_index(reference) == pytest.approx(((now - was) * np.log(now / was)).sum())
    assert DriftEvidence.start(reference).stability_index(reference) is None


def test_a_model_with_few_distinct_scores_has_fewer_bins_and_stays_exact() -> None:
    rng = np.random.default_rng(84)
    alarms = 0
    for _ in range(100):
        reference = score_reference(rng.choice([0.1, 0.2, 0.7], 300).tolist())
        alarms += _drift(reference, rng.choice([0.1, 0.2, 0.7], 200)).rejects(0.05)
    assert len(reference.counts) <= 4
    assert alarms <= 11


HISTOGRAM = ((5.0, 300), (10.0, 620), (25.0, 930), (50.0, 960), (100.0, 992), (math.inf, 1000))


def test_slow_rates_are_the_champion_s_quantiles_on_its_buckets() -> None:
    rates = slow_rates(HISTOGRAM)
    assert [rate.above_ms for rate in rates] == [10.0, 50.0, 100.0]
    assert [rate.reference for rate in rates] == pytest.approx([0.38, 0.04, 0.008])
    assert slower_than(HISTOGRAM, 50.0) == 40
    assert slow_rates(()) == ()
    with pytest.raises(ValueError, match="no bucket"):
        slower_than(HISTOGRAM, 60.0)


def test_the_objective_is_a_wald_likelihood_ratio() -> None:
    rate = SlowRate(50.0, 0.04)
    odds = 1.5 * 0.04 / 0.96
    assert rate.objective == pytest.approx(odds / (1 + odds))
    evidence = LatencyEvidence.start().update((900, 40), (100, 9), rate.objective)
    rates = [odds * r / (1 + odds * r) for r in (1.5, 3.0, 10.0)]
    expected = sum((p / rate.objective) ** 9 * ((1 - p) / (1 - rate.objective)) ** 91 for p in rates) / 3
    assert evidence.objective.e == pytest.approx(expected)
    assert LatencyEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence


@pytest.mark.parametrize("quantile", [0.5, 0.95, 0.99])
def test_equal_latency_rarely_alarms_and_a_slow_model_is_found(quantile: float) -> None:
    rng, rate = np.random.default_rng(85), SlowRate(50.0, 1 - quantile)
    wrong = 0
    for _ in range(60):
        evidence = LatencyEvidence.start()
        for _ in range(60):
            a, b = rng.binomial(180, rate.reference), rng.binomial(20, rate.reference)
            evidence = evidence.update((180, int(a)), (20, int(b)), rate.objective)
        wrong += evidence.ratio.rejects(0.05) or evidence.objective.rejects(0.05)
    assert wrong <= 6
    slow = LatencyEvidence.start()
    late = min(20, round(20 * 5 * rate.reference) or 1)
    for _ in range(60):
        slow = slow.update((180, round(180 * rate.reference)), (20, late), rate.objective)
    assert slow.ratio.rejects(0.005)
    assert slow.objective.rejects(0.005)


def test_the_detector_is_the_shiryaev_roberts_recursion() -> None:
    rng = np.random.default_rng(86)
    factors = rng.uniform(0.5, 1.6, size=(40, 2))
    detector, m = EDetector.start(2), np.zeros(2)
    for e in factors:
        detector = detector.update(np.log(e).tolist())
        m = (1 + m) * e
    assert math.exp(detector.log_mean) == pytest.approx(m.mean())
    assert EDetector.from_json(json.loads(json.dumps(detector.to_json()))) == detector
    assert EDetector.from_json(json.loads(json.dumps(EDetector.start(2).to_json()))) == EDetector.start(2)


def test_false_alarms_of_a_watch_are_bounded_by_what_was_put_in() -> None:
    """30 daily bets against A = 600: at most 5 % of the watches, looked at 20 times a day."""
    rng = np.random.default_rng(87)
    alarms = 0
    for _ in range(100):
        detector = EDetector.start(1)
        for look in range(600):
            gain = math.log(1 + 0.5 * rng.choice([-1.0, 1.0]))
            detector = detector.update([gain], 1.0 if look % 20 == 0 else 0.0)
        alarms += detector.alarms(600)
    assert alarms <= 11


def test_a_late_change_is_found_soon_after_a_long_quiet_time() -> None:
    """A plain product would have to win back what it lost before the change."""
    detector, product = EDetector.start(1), 0.0
    for t in range(1000):
        gain = math.log(1 + 0.5 * (1.0 if t >= 900 or t % 2 else -1.0))
        detector, product = detector.update([gain]), product + gain
    assert detector.alarms(20_000)
    assert product < math.log(20_000)
