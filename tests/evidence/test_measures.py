"""The numbers behind the pictures, against other libraries and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from clinical_assets.evidence.measures import measures, of_100, weighted_auc
from clinical_assets.evidence.patients import Unseen, unseen_patients
from clinical_assets.evidence.proportions import greenwood, wilson
from clinical_assets.gates.performance.evidence import OUT_OF_FOLD, TEST
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.trials.small_cells import small_cells
from tests.gates.cohorts import POLICY, release


def cohort(n: int = 600, seed: int = 3, horizon: float | None = 1000.0) -> Unseen:
    """Exponential times whose risk by the horizon is what the model says; a third is censored."""
    rng = np.random.default_rng(seed)
    risk = rng.uniform(0.05, 0.9, n)
    if horizon is None:
        outcomes = Outcomes.binary(rng.random(n) < risk)
        return Unseen(TEST, pd.DataFrame(), outcomes, risk, outcomes.events, None, 0.4)
    event_time = rng.exponential(-horizon / np.log1p(-risk))
    censored = rng.exponential(2000.0, n)
    time = np.ceil(np.minimum(event_time, censored))
    outcomes = Outcomes.survival(time, event_time <= censored)
    events = int((outcomes.flag & (time <= horizon)).sum())
    return Unseen(TEST, pd.DataFrame(), outcomes, risk, events, horizon, 0.4)


class TestIntervals:
    def test_greenwood_agrees_with_lifelines(self) -> None:
        lifelines = pytest.importorskip("lifelines")
        found = cohort()
        fitter = lifelines.KaplanMeierFitter().fit(found.outcomes.times(), found.outcomes.flag)
        bounds = fitter.confidence_interval_survival_function_.loc[:1000.0].iloc[-1]
        risk, low, high = greenwood(found.outcomes.times(), found.outcomes.flag, 1000.0)
        assert risk == pytest.approx(1.0 - float(fitter.predict(1000.0)), abs=1e-12)
        assert (low, high) == pytest.approx((1.0 - bounds.iloc[1], 1.0 - bounds.iloc[0]), abs=1e-9)

    def test_wilson_agrees_with_scipy(self) -> None:
        expected = binomtest(7, 40).proportion_ci(method="wilson")
        assert wilson(7, 40)[1:] == pytest.approx((expected.low, expected.high), abs=1e-12)

    def test_nobody_and_everybody_with_the_event_keep_an_interval(self) -> None:
        time = np.arange(1.0, 31.0)
        risk, low, high = greenwood(time, np.zeros(30, dtype=bool), 20.0)
        assert (risk, low) == pytest.approx((0.0, 0.0), abs=1e-12)
        assert 0.0 < high < 0.5
        risk, low, high = greenwood(time, np.ones(30, dtype=bool), 100.0)
        assert (risk, high) == pytest.approx((1.0, 1.0), abs=1e-12)
        assert 0.5 <= low < 1.0


class TestDiscrimination:
    def test_weighted_auc_agrees_with_scikit_learn(self) -> None:
        rng = np.random.default_rng(1)
        label, risk = rng.random(300) < 0.3, rng.integers(0, 40, 300) / 40.0
        weights = rng.uniform(0.0, 3.0, (4, 300))
        expected = [roc_auc_score(label, risk, sample_weight=row) for row in weights]
        assert weighted_auc(label, risk, weights) == pytest.approx(expected, abs=1e-12)

    def test_auc_over_time_agrees_with_comparing_all_pairs(self) -> None:
        found = cohort()
        points = measures(found, 7)["discrimination"]["points"]
        for point in points:
            pairs = ConcordancePairs.at_time(found.outcomes, point["days"])
            assert point["auc"] == pytest.approx(pairs.concordance(found.risk), abs=1e-6)
            assert point["low"] < point["auc"] < point["high"]

    def test_roc_curve_encloses_the_area_under_it(self) -> None:
        found = cohort(2000, horizon=None)
        curve = measures(found, 7)["discrimination"]
        area = np.trapezoid(curve["true_positive"], curve["false_positive"])
        assert area == pytest.approx(roc_auc_score(found.outcomes.flag, found.risk), abs=0.01)


class TestCalibration:
    def test_of_a_true_model_the_band_holds_the_diagonal(self) -> None:
        curve = measures(cohort(2000), 7)["calibration"]
        inside = [low <= risk <= high for risk, low, high in zip(*(curve[k] for k in ("predicted", "low", "high")),
                                                                strict=True)]  # fmt: skip
        assert np.mean(inside) > 0.8

    def test_of_an_overconfident_model_it_does_not(self) -> None:
        true = cohort(2000)
        curve = measures(replace(true, risk=true.risk**3), 7)["calibration"]
        middle = len(curve["predicted"]) // 3
        assert curve["low"][middle] > curve["predicted"][middle]

    def test_of_a_constant_model_there_is_none(self) -> None:
        constant = cohort()
        assert measures(replace(constant, risk=np.full(600, 0.4)), 7)["calibration"] is None


class TestFrequencies:
    @given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
    def test_a_hundred_patients_stay_a_hundred(self, flagged: float, above: float, below: float) -> None:
        shares = {
            "flagged": flagged,
            "flagged_with_event": flagged * above,
            "not_flagged_with_event": (1 - flagged) * below,
        }
        counts = of_100(shares)
        assert counts is not None
        assert sum(counts.values()) == 100
        assert abs(counts["marked_event"] - 100 * flagged * above) < 1.0
        assert min(counts.values()) >= 0

    def test_too_few_on_one_side_say_nothing(self) -> None:
        few = cohort()
        assert measures(replace(few, threshold=0.899), 7)["frequencies"] is None


class TestSmallAndOddCohorts:
    @pytest.mark.parametrize("n", [12, 30, 80])
    @pytest.mark.parametrize("horizon", [1000.0, None])
    def test_no_small_cell_and_no_crash(self, n: int, horizon: float | None) -> None:
        assert not list(small_cells(measures(cohort(n, seed=n, horizon=horizon), 7)))

    def test_nobody_with_the_event(self) -> None:
        none = cohort(100)
        quiet = replace(none, outcomes=Outcomes.survival(none.outcomes.times(), np.zeros(100, dtype=bool)), events=0)
        found = measures(quiet, 7)
        assert found["observed_risk"]["value"] == 0.0
        assert found["discrimination"] is None

    def test_curves_end_where_few_are_left(self) -> None:
        for group in measures(cohort(90, seed=5), 7)["risk_groups"]:
            assert len(group["days"]) == len(group["event_free"])
            assert group["event_free"] == sorted(group["event_free"], reverse=True)


class TestWhoIsMeasured:
    def test_a_small_test_split_gives_way_to_nested_predictions(self) -> None:
        facts = release("lung_advanced")
        found = unseen_patients(facts, POLICY)
        assert facts.oof is not None
        assert found.name == (OUT_OF_FOLD if facts.oof.nested else TEST)
        lenient = type(POLICY).with_overrides({"performance": {"min_test_events": 1}})
        assert unseen_patients(facts, lenient).name == TEST
