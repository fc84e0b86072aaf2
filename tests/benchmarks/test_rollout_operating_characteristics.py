"""The benchmark's vectorised rules are the platform's tests, and its figures come out as designed on a small run."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import rollout_rules as rules
from benchmarks.rollout_operating_characteristics import TARGETS, judged, measure
from benchmarks.rollout_scenarios import SCENARIOS
from clinical_assets.rollout.evidence.errors import ErrorEvidence
from clinical_assets.rollout.evidence.hazard import BAND_EDGES, HazardEvidence, HazardShape
from clinical_assets.rollout.evidence.shadow import PairedEvidence
from clinical_assets.rollout.evidence.split import SplitEvidence
from clinical_assets.rollout.evidence.winsorised import WinsorisedEvidence, tail
from tests.rollout.patients import MARGIN, cohort

N = 300


@pytest.fixture(scope="module")
def stream() -> tuple[np.ndarray, ...]:
    return cohort((1, N), np.random.default_rng(1), 25)


def test_bounded_and_cut_off_rules_are_the_platform_s(stream: tuple[np.ndarray, ...]) -> None:
    a, b, y = stream
    z, eta = (b - y) ** 2 - (a - y) ** 2, MARGIN / 8
    paired, cut = PairedEvidence.start(MARGIN), WinsorisedEvidence.start(eta, MARGIN)
    for i in range(N):
        paired = paired.update(float(z[0, i]), MARGIN)
        cut = cut.update(float(z[0, i]), float(tail(b[0, i], a[0, i])), MARGIN)
    assert rules.bounded(z, -1)[0, -1] == pytest.approx(paired.harm.log_e)
    assert rules.bounded(MARGIN - z, MARGIN - 1)[0, -1] == pytest.approx(paired.non_inferiority.log_e)
    easy = np.full((1, 1000), -0.02)
    found = WinsorisedEvidence.start(eta, MARGIN)
    first = 0
    while not found.proves(rules.ALPHA):
        found, first = found.update(-0.02, 0.0, MARGIN), first + 1
    acted = rules.winsorised(easy, np.zeros_like(easy), eta, MARGIN)[0]
    assert acted - rules.EVERY < first <= acted


def test_split_and_service_rules_are_the_platform_s(stream: tuple[np.ndarray, ...]) -> None:
    z = stream[1] - stream[0]
    evidence = SplitEvidence.start(MARGIN)
    for value in z[0]:
        evidence = evidence.update(float(value), 0.3)
    assert rules.split(z, np.full((1, N), 0.3))[0, -1] == pytest.approx(evidence.harm.log_e)
    rng = np.random.default_rng(2)
    fail, on_b = (rng.uniform(size=(1, N)) < 0.03).astype(float), rng.uniform(size=(1, N)) < 0.2
    n_b, errors_b = int(on_b.sum()), int(fail[on_b].sum())
    service = ErrorEvidence.start().update((N - n_b, int(fail.sum()) - errors_b), (n_b, errors_b), 0.01)
    objective = rules.rate_objective(fail, on_b, 0.01, rules.error_alternatives(0.01))
    assert objective[0, -1] == pytest.approx(service.objective.log_e)
    at_share = rules.rate_ratio(fail, on_b, n_b / N)
    assert at_share[0, -1] == pytest.approx(service.ratio.log_e)


def test_person_time_is_accounted_as_by_the_platform(stream: tuple[np.ndarray, ...]) -> None:
    a, b, _ = stream
    rng = np.random.default_rng(3)
    event_at = rng.exponential(size=(1, N)) * np.where(rng.uniform(size=(1, N)) < 0.5, 1, -1)
    harm, proof = rules.person_time(a, b, event_at, np.zeros(N), 53)
    evidence, shape = HazardEvidence.start(), HazardShape()
    for i in range(N):
        end = abs(event_at[0, i])
        for band, edge in enumerate(BAND_EDGES):
            if end <= (BAND_EDGES[band - 1] if band else 0.0):
                break
            event = bool(event_at[0, i] > 0 and end <= edge)
            share = float(shape.within(band, min(end, edge)))
            evidence = evidence.update(float(b[0, i]), float(a[0, i]), band, event, share, rules.HAZARD_MARGIN)
    assert harm[0, -1] == pytest.approx(evidence.harm.log_e)
    assert proof[0, -1] == pytest.approx(evidence.non_inferiority.log_e)


def test_a_small_run_judges_every_target() -> None:
    measured = measure(60)
    assert set(measured) == set(SCENARIOS)
    verdicts = {(t["scenario"], t["rule"]): t for t in judged(measured)}
    assert len(verdicts) == len(TARGETS)
    errors = [t for t in verdicts.values() if t["figure"] == "rate"]
    assert all(t["value"] <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60) for t in errors)
    assert measured["harm, equal model"]["naive z"]["rate"] > 0.15, "a simulation that cannot see errors proves nothing"
    assert measured["harm, +25 %"]["M0"]["mean_over_oracle"] < 1.5
