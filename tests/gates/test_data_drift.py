"""DQ3, DQ11, DQ12, DQ13 and their distances: are the new rows like the reference?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency, wasserstein_distance

from clinical_assets.catalog import load_catalog
from clinical_assets.gates.data_quality import gate as data_quality
from clinical_assets.gates.data_quality.distances import categorical_drift, numeric_drift
from clinical_assets.gates.data_quality.drift import domain_auc, leading_features
from clinical_assets.gates.data_quality.outcome_sanity import proportion
from clinical_assets.gates.data_quality.outcome_shift import difference, event_rates
from clinical_assets.gates.data_quality.reference_cohort import Comparison
from clinical_assets.gates.verdict import Verdict
from clinical_assets.release import champion_training_frame
from resources.object_store import ObjectStore

from .cohorts import POLICY, ROOT, checked, cohort, release, with_contract, with_frames


class TestDistances:
    def test_they_equal_scipy_and_the_definition(self):
        before, now = np.array([40, 30, 20, 10]), np.array([10, 25, 30, 35])
        drift = categorical_drift(before, now)
        p, q = now / 100, before / 100
        assert drift.jensen_shannon == pytest.approx(jensenshannon(p, q, base=2))
        assert drift.p == pytest.approx(chi2_contingency([before, now]).pvalue)
        smooth_p, smooth_q = (now + 0.5) / 102, (before + 0.5) / 102
        index = sum((a - b) * np.log(a / b) for a, b in zip(smooth_p, smooth_q, strict=True))
        assert drift.psi == pytest.approx(index - 3 * (1 / 100 + 1 / 100))

    def test_wasserstein_is_in_standard_deviations(self):
        rng = np.random.default_rng(1)
        before, now = rng.normal(50, 10, 400), rng.normal(60, 10, 300)
        drift = numeric_drift(before, now)
        assert drift.wasserstein == pytest.approx(wasserstein_distance(before, now) / before.std())

    def test_without_drift_the_index_is_zero_on_average(self):
        rng = np.random.default_rng(2)
        found = [numeric_drift(rng.normal(size=200), rng.normal(size=150)).psi for _ in range(300)]
        assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300) + 0.01

    def test_its_lower_limit_holds_as_often_as_it_says(self):
        """True index of two categorical distributions; 95 % one-sided limits of 1,000 pairs of samples."""
        rng = np.random.default_rng(3)
        q, p = np.array([0.4, 0.3, 0.2, 0.1]), np.array([0.15, 0.25, 0.3, 0.3])
        true = float(((p - q) * np.log(p / q)).sum())
        limits = [
            categorical_drift(rng.multinomial(400, q), rng.multinomial(300, p)).at_least(0.95) for _ in range(1000)
        ]
        assert 0.92 < np.mean(np.array(limits) <= true) < 0.98

    @pytest.mark.parametrize("values", [np.zeros(60), np.r_[np.zeros(59), 1.0]])
    def test_constant_columns_do_not_drift_apart(self, values):
        assert numeric_drift(np.zeros(80), values).psi < 0.2


class TestColumnDrift:
    def test_a_leading_feature_that_drifted_blocks(self):
        facts = cohort("breast")
        moved = facts.test.assign(size=np.where(facts.test.index % 10 < 9, ">50", facts.test["size"]))
        result = checked(with_frames(facts, test=moved), "DQ11")
        assert result.verdict is Verdict.BLOCK
        assert "size" in result.reason
        assert result.interval[0] > POLICY.data_quality.drift_block

    def test_a_minor_feature_that_drifted_warns(self):
        facts = cohort("colon")
        policy = POLICY.with_overrides({"data_quality": {"drift_leading_features": 3}})
        older = facts.test.assign(age=facts.test["age"].clip(lower=66))
        assert "age" not in leading_features(facts.train, facts.contract, 3)
        assert checked(with_frames(facts, test=older), "DQ11", policy).verdict is Verdict.WARN

    def test_nodes_and_age_are_known_to_lead_and_to_trail_in_colon_cancer(self):
        facts = cohort("colon")
        assert {"node4", "nodes"} <= leading_features(facts.train, facts.contract, 4)

    def test_few_rows_are_inconclusive(self):
        facts = cohort("colon")
        for id in ("DQ11", "DQ12"):
            assert checked(with_frames(facts, test=facts.test.iloc[:40]), id).verdict is Verdict.INCONCLUSIVE

    def test_both_sides_are_compared_with_the_champions_data(self):
        facts = cohort("colon")
        result = checked(replace(facts, champion_train=facts.train.iloc[:400]), "DQ11")
        assert result.verdict is Verdict.PASS
        assert "age, train against the champion's training data" in result.details


class TestMultivariateDrift:
    def test_a_broken_correlation_is_seen_where_no_column_drifts(self):
        facts = cohort("breast_fna")
        rng = np.random.default_rng(4)
        shuffled = facts.test.copy()
        for column in facts.contract.features:
            shuffled[column.name] = rng.permutation(shuffled[column.name].to_numpy())
        torn = with_frames(facts, test=shuffled)
        assert checked(torn, "DQ11").verdict is Verdict.PASS
        assert checked(torn, "DQ12").verdict is Verdict.WARN

    def test_two_halves_of_one_cohort_cannot_be_told_apart(self):
        facts = cohort("colon")
        auc, (low, high) = domain_auc(Comparison("x", facts.train, facts.test), facts.contract)
        assert low < 0.5 < high or abs(auc - 0.5) < 0.06


class TestOutcomeShift:
    def test_newcombes_published_interval(self):
        """Newcombe (1998), Statistics in Medicine 17:873, method 10: 56/70 against 48/80 gives .0524 to .3339."""
        shift, interval = difference(proportion(48, 80), proportion(56, 70))
        assert shift == pytest.approx(0.2)
        assert interval == pytest.approx((0.0524, 0.3339), abs=5e-4)

    @pytest.mark.parametrize("slug", ["colon", "breast_fna"])
    def test_many_more_events_than_in_the_reference_block(self, slug):
        facts = cohort(slug)
        if facts.contract.endpoint.kind == "binary":
            moved = facts.test.assign(label=np.where(facts.test.index % 2 == 0, 1, facts.test["label"]))
        else:
            moved = facts.test.assign(time=facts.test["time"] * 0.4, event=1)
        result = checked(with_frames(facts, test=moved), "DQ13")
        assert result.verdict is Verdict.BLOCK
        assert result.interval[0] > POLICY.data_quality.outcome_shift

    def test_a_few_patients_leave_it_open(self):
        facts = cohort("colon")
        assert checked(with_frames(facts, test=facts.test.iloc[:15]), "DQ13").verdict is Verdict.INCONCLUSIVE

    def test_the_same_patients_have_the_same_rate(self):
        facts = cohort("colon")
        rates = event_rates(facts.train, facts.train, facts.contract.endpoint)
        assert rates is not None
        assert difference(*rates)[0] == 0.0

    def test_shorter_follow_up_is_no_shift(self):
        """Censoring at two years: both sides are then compared at two years."""
        facts = cohort("colon")
        late = facts.test["time"] > 730
        short = facts.test.assign(time=facts.test["time"].clip(upper=730), event=facts.test["event"].where(~late, 0))
        assert checked(with_frames(facts, test=short), "DQ13").verdict is Verdict.PASS


def test_the_champions_training_data_come_from_its_own_snapshot(tmp_path):
    facts, cancer = release("colon"), load_catalog()["colon"]
    store = ObjectStore(root=str(ROOT))
    assert champion_training_frame(cancer, "", store) is None
    frame = champion_training_frame(cancer, facts.model_digest, store)
    pd.testing.assert_frame_equal(frame, facts.train)
    (tmp_path / "models").symlink_to(ROOT / "models")
    assert champion_training_frame(cancer, facts.model_digest, ObjectStore(root=str(tmp_path))) is None


def test_missing_values_are_compared_with_the_champions_data():
    facts = with_contract(cohort("colon"), "differ", max_missing=0.5)
    emptied = [frame.assign(differ=frame["differ"].where(frame.index % 4 != 0)) for frame in (facts.train, facts.test)]
    assert checked(with_frames(facts, *emptied), "DQ3").verdict is Verdict.PASS
    result = checked(replace(with_frames(facts, *emptied), champion_train=facts.train), "DQ3")
    assert result.verdict is Verdict.WARN
    assert "champion" in result.reason


ODD = {
    "no events": lambda frame: frame.assign(event=0),
    "everybody has the event": lambda frame: frame.assign(event=1),
    "twelve rows": lambda frame: frame.iloc[:12],
    "one row": lambda frame: frame.iloc[:1],
    "no rows": lambda frame: frame.iloc[:0],
    "nothing measured": lambda frame: frame.assign(age=np.nan, nodes=np.nan, extent=np.nan, differ=np.nan),
    "constants": lambda frame: frame.assign(age=60.0, sex="male", nodes=1.0, rx="Obs"),
    "infinite": lambda frame: frame.assign(nodes=np.inf),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("side", ["test", "both"])
def test_no_new_check_crashes_on_an_odd_cohort(odd, side):
    facts = cohort("colon")
    train = facts.train if side == "test" else ODD[odd](facts.train)
    report = data_quality.judge(with_frames(facts, train=train, test=ODD[odd](facts.test)), POLICY)
    assert not [(check.id, check.reason) for check in report.checks if check.verdict is Verdict.ERROR]


def test_one_class_only_is_no_crash():
    facts = cohort("breast_fna")
    report = data_quality.judge(with_frames(facts, facts.train.assign(label=0), facts.test.assign(label=0)), POLICY)
    assert not [(check.id, check.reason) for check in report.checks if check.verdict is Verdict.ERROR]
