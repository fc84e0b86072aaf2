"""The single tests of a rollout: exactness, unbiasedness, bounds, and what they refuse."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from scipy.stats import nchypergeom_fisher

from clinical_assets.rollout.evidence.errors import ErrorEvidence, ratio_test
from clinical_assets.rollout.evidence.intervals import GridInterval
from clinical_assets.rollout.evidence.maturity import CensoringCurve, censoring_curve, outcome_at_horizon
from clinical_assets.rollout.evidence.onset import Onset
from clinical_assets.rollout.evidence.outputs import OutputEvidence
from clinical_assets.rollout.evidence.shadow import PairedEvidence, loss_difference
from clinical_assets.rollout.evidence.split import SplitEvidence, augmentation, split_difference
from clinical_assets.rollout.evidence.srm import assign, sample_ratio

from .patients import MARGIN, differences

risk = st.floats(0, 1)
share = st.floats(0.02, 0.98)


@given(risk, risk, share, st.floats(0, 1), st.sampled_from([0, 1]), risk)
def test_the_split_contribution_is_unbiased_for_every_patient(
    champion: float, challenger: float, pi: float, g: float, outcome: int, constant: float
) -> None:
    truth = (challenger - outcome) ** 2 - (champion - outcome) ** 2
    for centre in (constant, augmentation(challenger, champion, pi, g)):
        b = split_difference("challenger", (challenger - outcome) ** 2, pi, centre)
        a = split_difference("champion", (champion - outcome) ** 2, pi, centre)
        assert pi * b + (1 - pi) * a == pytest.approx(truth, abs=1e-9)


@given(risk, risk, share, st.sampled_from([0, 1]), st.floats(1, 4), st.booleans())
def test_split_factors_stay_positive(
    champion: float, challenger: float, pi: float, outcome: int, weight: float, arm: bool
) -> None:
    centre = augmentation(challenger, champion, pi)
    loss = ((challenger if arm else champion) - outcome) ** 2
    z = split_difference("challenger" if arm else "champion", loss, pi, centre, weight)
    assert math.isfinite(SplitEvidence.start(MARGIN).update(z, pi, 4.0).harm.log_e)


def test_an_assignment_that_was_not_random_is_no_evidence() -> None:
    with pytest.raises(ValueError, match="randomised"):
        split_difference("challenger", 0.1, 1.0, 0.08)


@given(risk, risk, st.sampled_from([0, 1]), st.floats(0, 2.5))
def test_paired_evidence_accepts_every_weighted_difference(a: float, b: float, outcome: int, weight: float) -> None:
    evidence = PairedEvidence.start(MARGIN).update(loss_difference(b, a, outcome, weight), MARGIN, 2.5)
    assert evidence.n == 1
    assert PairedEvidence.from_json(json.loads(json.dumps(evidence.to_json()))) == evidence


def test_a_weight_above_the_declared_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="lower bound"):
        PairedEvidence.start(MARGIN).update(-1.5, MARGIN, 1.0)


def test_the_confidence_sequence_covers_the_truth_and_shrinks() -> None:
    rng = np.random.default_rng(30)
    missed, widths = 0, []
    for _ in range(20):
        interval = GridInterval.start(MARGIN)
        for z in differences((1, 2500), rng)[0]:
            interval = interval.update(float(z), -1.0, 1.0)
        lower, upper = interval.bounds
        missed += (lower is not None and lower >= 0) or (upper is not None and upper <= 0)
        widths.append(upper)
    assert missed <= 2
    assert np.median([w for w in widths if w is not None]) <= MARGIN
    assert GridInterval.from_json(json.loads(json.dumps(interval.to_json()))) == interval


def test_error_tests_give_wald_s_likelihood_ratio() -> None:
    evidence = ErrorEvidence.start().update((900, 9), (100, 4), 0.01)
    ratios = [0.1 * r / (0.1 * r + 0.9) for r in (1.5, 3.0, 10.0)]
    expected = sum((q / 0.1) ** 4 * ((1 - q) / 0.9) ** 9 for q in ratios) / 3
    assert evidence.ratio.e == pytest.approx(expected)
    rates = (0.02, 0.05, 0.2, 0.5)
    expected = sum((p / 0.01) ** 4 * ((1 - p) / 0.99) ** 96 for p in rates) / 4
    assert evidence.objective.e == pytest.approx(expected)


def test_the_ratio_test_is_fair_when_errors_are_drawn_without_replacement() -> None:
    """All ways to place the errors of one interval on its requests, enumerated."""
    n_a, n_b, errors = 5, 3, 3
    values = []
    for placed in itertools.combinations(range(n_a + n_b), errors):
        on_b = sum(position >= n_a for position in placed)
        values.append(ErrorEvidence.start().update((n_a, errors - on_b), (n_b, on_b), 0.4).ratio.e)
    assert np.mean(values) <= 1 + 1e-12


@pytest.mark.parametrize("allowed", [1.0, 1.5])
def test_the_ratio_test_is_fair_at_its_limit(allowed: float) -> None:
    """Fisher's noncentral hypergeometric law of the challenger's failures at exactly the allowed odds ratio."""
    n_a, n_b, failures = 12, 7, 9
    chance = nchypergeom_fisher(n_a + n_b, n_b, failures, allowed)
    values = [
        chance.pmf(k) * ratio_test(ErrorEvidence.start().ratio, (n_a, failures - k), (n_b, k), allowed).e
        for k in range(failures + 1)
        if failures - k <= n_a and k <= n_b
    ]
    assert sum(values) <= 1 + 1e-12


def test_a_challenger_that_always_fails_is_found_at_once() -> None:
    evidence = ErrorEvidence.start()
    for _ in range(30):
        evidence = evidence.update((0, 0), (1, 1), 0.002)
    assert evidence.objective.rejects(0.01)
    assert not evidence.ratio.n, "without champion requests there is nothing to compare"


@pytest.mark.parametrize("counts", [(3, 5), (-1, 0), (4, -1)])
def test_impossible_counts_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="errors of"):
        ErrorEvidence.start().update((10, 0), counts, 0.01)


def test_sample_ratio_false_alarms_are_rare_and_a_shift_is_found() -> None:
    rng = np.random.default_rng(31)

    def alarms(true: float) -> int:
        found = 0
        for _ in range(40):
            process = sample_ratio()
            for challenger in rng.uniform(size=1500) < true:
                process = assign(process, bool(challenger), 0.1)
            found += process.rejects(0.001)
        return found

    assert alarms(0.1) <= 1
    assert alarms(0.16) >= 36


def test_the_censoring_curve_equals_lifelines() -> None:
    rng = np.random.default_rng(32)
    event_at, censored_at = rng.exponential(900, 400).round(), rng.exponential(1500, 400).round()
    times, events = np.minimum(event_at, censored_at) + 1, (event_at <= censored_at).astype(int)
    keep = ~((events == 1) & np.isin(times, times[events == 0]))  # lifelines has no rule for such ties
    times, events = times[keep], events[keep]
    curve = censoring_curve(times, events, 1000.0)
    reference = KaplanMeierFitter().fit(times, 1 - events)
    for t in (100.0, 365.0, 730.0, 999.0):
        assert curve.before(t) == pytest.approx(reference.survival_function_at_times(t - 1e-6).item(), abs=0.0025)


def test_events_leave_the_risk_set_before_censorings_at_the_same_time() -> None:
    curve = censoring_curve([1.0, 1.0, 2.0, 3.0], [1, 0, 0, 1], 10.0)
    assert curve.before(1.0) == 1.0
    assert curve.before(1.5) == pytest.approx(2 / 3)
    assert curve.before(5.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("time", "event", "expected"),
    [
        (50.0, 1, (1, 1.0)),
        (150.0, 1, (1, 1 / 0.8)),
        (150.0, 0, (0, 0.0)),
        (200.0, 0, (0, 1 / 0.8)),
        (250.0, 1, (0, 1 / 0.8)),
        (200.0, 1, (1, 1 / 0.8)),
    ],
)
def test_outcome_and_weight_at_the_horizon(time: float, event: int, expected: tuple[int, float]) -> None:
    curve = CensoringCurve(times=(100.0,), survival=(0.8,))
    assert outcome_at_horizon(time, event, 200.0, curve, 4.0) == expected


def test_censoring_weights_restore_the_uncensored_mean() -> None:
    rng = np.random.default_rng(33)
    n, horizon = 40_000, 1000.0
    event_at, censored_at = rng.exponential(2500, n), rng.exponential(3000, n)
    times, events = np.minimum(event_at, censored_at), (event_at <= censored_at).astype(int)
    curve = censoring_curve(times, events, horizon)
    seen = [outcome_at_horizon(t, e, horizon, curve, 4.0) for t, e in zip(times, events, strict=True)]
    assert np.mean([w for _, w in seen]) == pytest.approx(1.0, abs=0.015)
    assert np.mean([y * w for y, w in seen]) == pytest.approx((event_at <= horizon).mean(), abs=0.01)


def test_weights_are_capped() -> None:
    assert CensoringCurve(times=(1.0,), survival=(0.01,)).weight(2.0, 4.0) == 4.0


@pytest.mark.parametrize("bad", [{"times": (1.0,), "survival": ()}, {"times": (1.0,), "survival": (0.0,)}])
def test_an_impossible_curve_is_refused(bad: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(ValueError, match="curve"):
        CensoringCurve(**bad)


def test_one_invalid_score_is_seen_with_its_time() -> None:
    outputs = OutputEvidence().update("p1", 0.2, True, 10.0)
    outputs = outputs.update("p2", None, True, 11.0).update("p3", None, False, 12.0)
    assert (outputs.invalid, outputs.first_invalid_at, outputs.scored, outputs.answered) == (2, 11.0, 3, 2)


def test_a_constant_run_counts_patients_not_repeats() -> None:
    outputs = OutputEvidence().update("p0", 0.1, True, 0.0)
    for second in range(1, 6):
        outputs = outputs.update("same", 0.3, True, float(second))
    assert outputs.longest == 1
    for second in range(6, 9):
        outputs = outputs.update(f"p{second}", 0.3, True, float(second))
    assert (outputs.longest, outputs.longest_since) == (4, 1.0)
    assert OutputEvidence.from_json(json.loads(json.dumps(outputs.to_json()))) == outputs


def test_the_onset_is_the_first_sample_above_the_last_minimum() -> None:
    onset = Onset()
    for at, log_e in enumerate([-1.0, -0.5, -2.0, -1.9, -1.5, 3.0]):
        onset = onset.update(log_e, float(at))
    assert onset.since == 3.0
