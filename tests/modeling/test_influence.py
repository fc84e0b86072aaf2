from __future__ import annotations

import numpy as np
import pytest

from clinical_assets.modeling.metrics.influence import risk_influence
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.metrics.smooth import overall_risk
from clinical_assets.modeling.outcomes import Outcomes


@pytest.fixture(scope="module")
def censored() -> Outcomes:
    rng = np.random.default_rng(5)
    time, lost = np.ceil(rng.exponential(40, 300)), np.ceil(rng.exponential(90, 300))
    return Outcomes.survival(np.minimum(time, lost), time <= lost)


def test_kaplan_meier_risk_and_its_variance_are_those_of_lifelines(censored):
    from lifelines import KaplanMeierFitter

    risk, influence = risk_influence(censored, 30.0)
    fitted = KaplanMeierFitter().fit(censored.times(), censored.flag)
    assert risk == pytest.approx(1.0 - float(fitted.predict(30.0)))
    greenwood = float(fitted._cumulative_sq_.asof(30.0)) * (1.0 - risk) ** 2
    assert influence @ influence / 300**2 == pytest.approx(greenwood, rel=0.02)
    assert influence.sum() == pytest.approx(0.0, abs=1e-8)


def test_influence_is_what_leaving_a_patient_out_changes(censored):
    risk, influence = risk_influence(censored, 30.0)
    without = [overall_risk(censored.take(np.arange(300) != i), 30.0) for i in range(40)]
    assert 299 * (risk - np.array(without)) == pytest.approx(influence[:40], abs=0.02)


def test_a_share_of_labels_has_the_binomial_variance():
    labels = Outcomes.binary(np.arange(50) < 20)
    risk, influence = risk_influence(labels, None)
    assert (risk, influence @ influence / 50**2) == pytest.approx((0.4, 0.4 * 0.6 / 50))


def test_pairs_between_two_groups_are_counted_once_each_way(censored):
    rng = np.random.default_rng(1)
    risk, first = rng.random(300), rng.random(300) < 0.4
    pairs = ConcordancePairs.of(censored, 60.0)
    parts = [pairs.among(a, b) for a in (first, ~first) for b in (first, ~first)]
    assert sum(part.comparable.sum() for part in parts) == pytest.approx(pairs.comparable.sum(), rel=1e-5)
    across = pairs.among(first, ~first)
    agreed, comparable = across.contributions(risk)
    assert agreed.sum() / comparable.sum() == pytest.approx(across.concordance(risk), rel=1e-5)
    assert not comparable[~first & (censored.times() <= censored.times()[first & censored.flag].min())].any()


def test_the_error_of_an_auroc_is_delongs():
    rng = np.random.default_rng(3)
    label = rng.random(120) < 0.4
    risk = np.round(rng.normal(size=120) + label, 1)
    pairs = ConcordancePairs.of(Outcomes.binary(label))
    agreed, comparable = pairs.contributions(risk)
    influence = 2.0 * (agreed - pairs.concordance(risk) * comparable) / comparable.sum()
    wins = (risk[label][:, None] > risk[~label]) + 0.5 * (risk[label][:, None] == risk[~label])
    m, n = wins.shape
    delong = wins.mean(1).var() / m + wins.mean(0).var() / n
    assert influence @ influence == pytest.approx(delong, rel=1e-5)
