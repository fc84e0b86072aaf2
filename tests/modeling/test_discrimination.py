"""Concordance against lifelines, greenwood, torchsurv, scikit-learn, brute force and closed forms."""

from __future__ import annotations

import greenwood
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lifelines.utils import concordance_index
from torchsurv.metrics.cindex import ConcordanceIndex

from clinical_assets.modeling.curves import censoring_curve
from clinical_assets.modeling.metrics.discrimination import auroc, harrell_c, sensitivity_specificity, uno_c
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes


@pytest.fixture
def colon(cohort, fitted) -> tuple[Outcomes, np.ndarray]:
    data = cohort("colon")
    return data.outcomes(data.test), fitted("colon", "cox").risk(data.test, data.horizon)


def test_harrell_equals_lifelines_and_the_pair_matrix(censored, colon) -> None:
    for outcomes, risk in (censored, colon):
        expected = concordance_index(outcomes.time, -risk, outcomes.event)
        assert harrell_c(outcomes, risk) == pytest.approx(expected, abs=1e-9)
        assert ConcordancePairs.harrell(outcomes).concordance(risk) == pytest.approx(expected, abs=1e-6)


def test_uno_equals_greenwood(censored, colon) -> None:
    for outcomes, risk in (censored, colon):
        tau = float(np.quantile(outcomes.time, 0.8)) + 0.5
        surv = greenwood.Surv(outcomes.time, event=outcomes.event.astype(int))
        expected = greenwood.concordance_index_ipcw(surv, risk, tau=tau)
        assert uno_c(outcomes, risk, tau) == pytest.approx(expected, abs=1e-6)


def test_uno_equals_torchsurv_under_the_same_weights(colon) -> None:
    outcomes, risk = colon
    tau = 1826.25
    chance = censoring_curve(outcomes).before(outcomes.time)
    expected = ConcordanceIndex()(
        torch.as_tensor(risk),
        torch.as_tensor(outcomes.event),
        torch.as_tensor(outcomes.time),
        weight=torch.as_tensor(1.0 / chance),
        tmax=torch.tensor(tau),
    )
    assert uno_c(outcomes, risk, tau) == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("decimals", [0, 6])
@pytest.mark.parametrize("block", [1, 7, 1000])
def test_concordance_without_the_matrix_equals_that_with_it(
    monkeypatch: pytest.MonkeyPatch, block: int, decimals: int
) -> None:
    rng = np.random.default_rng(block)
    died, left = rng.exponential(10.0, 300).round(decimals), rng.uniform(1.0, 20.0, 300).round(decimals)
    outcomes = Outcomes.survival(np.minimum(died, left) + 1.0, died <= left)
    risk = rng.normal(size=300).round(1)
    uno, harrell = uno_c(outcomes, risk, 12.0), harrell_c(outcomes, risk)
    monkeypatch.setattr("clinical_assets.modeling.metrics.discrimination.MATRIX_ROWS", 10)
    monkeypatch.setattr("clinical_assets.modeling.metrics.discrimination.BLOCK", block)
    assert uno_c(outcomes, risk, 12.0) == pytest.approx(uno, abs=1e-6)
    assert harrell_c(outcomes, risk) == pytest.approx(harrell, abs=1e-9)


def test_uno_moves_with_its_horizon(cohort) -> None:
    data = cohort("lung_advanced")
    outcomes = data.outcomes(data.frame)
    risk = data.frame["ph_ecog"].fillna(1.0).to_numpy()
    taus = np.quantile(outcomes.time, [0.5, 0.8, 0.95])
    values = [uno_c(outcomes, risk, tau) for tau in taus]
    assert max(values) - min(values) > 0.03


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(1, 8), st.booleans(), st.integers(0, 4)), min_size=4, max_size=25),
    tau=st.integers(3, 9),
)
def test_uno_equals_a_loop_over_pairs(rows: list[tuple[int, bool, int]], tau: int) -> None:
    time, event, risk = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    outcomes = Outcomes.survival(time, event)
    chance = censoring_curve(outcomes).before(time)
    agreed = total = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] and time[i] < time[j] and time[i] < tau:
                weight = chance[i] ** -2
                total += weight
                agreed += weight * ((risk[i] > risk[j]) + 0.5 * (risk[i] == risk[j]))
    if total == 0:
        with pytest.raises(ValueError, match="no comparable pair"):
            uno_c(outcomes, risk, tau)
    else:
        assert uno_c(outcomes, risk, tau) == pytest.approx(agreed / total, abs=1e-6)


def test_perfect_inverted_and_constant_risk(censored) -> None:
    outcomes, _ = censored
    for measure in (harrell_c, lambda y, r: uno_c(y, r, 500.0)):
        length = outcomes.time + 0.5 * ~outcomes.event  # who is censored on a day outlives who dies on it
        assert measure(outcomes, -length) == pytest.approx(1.0)
        assert measure(outcomes, length) == pytest.approx(0.0)
        assert measure(outcomes, np.ones(outcomes.n)) == pytest.approx(0.5)


def test_the_auroc_is_the_concordance_of_labels(cohort, fitted) -> None:
    data = cohort("breast_fna")
    outcomes, risk = data.outcomes(data.test), fitted("breast_fna", "cox").risk(data.test, None)
    assert ConcordancePairs.of(outcomes).concordance(risk) == pytest.approx(auroc(outcomes, risk), abs=1e-6)


def test_measures_say_why_they_do_not_exist() -> None:
    with pytest.raises(ValueError, match="needs both labels"):
        auroc(Outcomes.binary(np.ones(5)), np.arange(5.0))
    with pytest.raises(TypeError, match="no follow-up"):
        uno_c(Outcomes.binary(np.array([0, 1])), np.array([0.1, 0.2]), 10.0)


def test_sensitivity_and_specificity_by_hand() -> None:
    outcomes = Outcomes.binary(np.array([1, 1, 1, 0, 0]))
    assert sensitivity_specificity(outcomes, np.array([0.9, 0.5, 0.1, 0.6, 0.2]), 0.5) == (pytest.approx(2 / 3), 0.5)
