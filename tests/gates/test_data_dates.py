"""DQ7 to DQ10: patients under a second identifier, order in time, medians as in the protocol, possible lives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.utils import median_survival_times

from clinical_assets.gates.data_quality.duplicates import near_pairs_between
from clinical_assets.gates.data_quality.outcome_sanity import kaplan_meier_median
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, checked, cohort, with_frames


class TestOrderOfTheSplits:
    def test_a_split_by_subject_has_no_order_in_time(self):
        result = checked(cohort("breast"), "DQ8")
        assert (result.verdict, result.value) == (Verdict.PASS, None)
        assert "does not apply" in result.reason

    def test_a_split_declared_out_of_time_is_held_to_it(self):
        facts = cohort("breast")
        declared = replace(facts, split=replace(facts.split, out_of_time=True))
        result = checked(declared, "DQ8")
        assert result.verdict is Verdict.BLOCK
        assert result.value > 0
        frame = pd.concat([facts.train, facts.test]).sort_values("index_date", ignore_index=True)
        late = frame["index_date"] >= frame["index_date"].quantile(0.7)
        apart = with_frames(declared, frame[~late].reset_index(drop=True), frame[late].reset_index(drop=True))
        assert checked(apart, "DQ8").verdict is Verdict.PASS

    def test_without_calendar_dates_the_declaration_is_false(self):
        facts = cohort("colon")
        assert checked(replace(facts, split=replace(facts.split, out_of_time=True)), "DQ8").verdict is Verdict.BLOCK


class TestDates:
    @pytest.mark.parametrize("slug", ["breast", "colon", "breast_fna"])
    def test_real_cohorts_are_possible(self, slug):
        assert checked(cohort(slug), "DQ10").verdict is Verdict.PASS

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"index_date": pd.Timestamp("2090-01-01")}, "beyond the extraction"),
            ({"index_date": pd.Timestamp("1812-06-01")}, "before 1900"),
            ({"index_date": pd.NaT}, "no index date"),
            ({"age": -2.0}, "before their birth"),
            ({"age": 125.0}, "beyond an age"),
        ],
    )
    def test_one_impossible_date_blocks(self, change, named):
        facts = cohort("breast")
        test = facts.test.copy()
        for name, value in change.items():
            test.loc[3, name] = value
        result = checked(with_frames(facts, test=test), "DQ10")
        assert result.verdict is Verdict.BLOCK
        assert named in result.reason
        assert result.value == 1.0

    def test_follow_up_beyond_the_data_cut(self):
        facts = cohort("breast")
        result = checked(replace(facts, manifest={**facts.manifest, "data_cut": "1985-01-01"}), "DQ10")
        assert result.verdict is Verdict.BLOCK
        assert "beyond the data cut" in result.reason

    def test_dates_of_one_subject_shifted_together_are_fine(self):
        facts = cohort("breast")
        rng = np.random.default_rng(1)
        shift = pd.to_timedelta(7 * rng.integers(-8, 8, len(facts.train)), unit="D")
        shifted = replace(
            with_frames(facts, train=facts.train.assign(index_date=facts.train["index_date"] + shift)),
            champion_train=facts.train,
        )
        assert checked(shifted, "DQ10").verdict is Verdict.PASS

    def test_an_index_date_shifted_without_its_event_breaks_the_interval(self):
        facts = cohort("breast")
        moved = facts.train.copy()
        moved["index_date"] += pd.Timedelta(days=30)
        moved["time"] = (moved["time"] - 30).clip(lower=1)
        result = checked(replace(with_frames(facts, train=moved), champion_train=facts.train), "DQ10")
        assert result.verdict is Verdict.BLOCK
        assert "moved" in result.reason

    def test_other_weekdays_than_before_warn(self):
        facts = cohort("breast")
        workdays = pd.bdate_range("1980-01-01", periods=len(facts.train))
        anyday = pd.date_range("1980-01-01", periods=len(facts.test))
        moved = with_frames(facts, facts.train.assign(index_date=workdays), facts.test.assign(index_date=anyday))
        assert checked(moved, "DQ10").verdict is Verdict.WARN

    def test_a_source_without_dates_and_ages(self):
        result = checked(cohort("breast_fna"), "DQ10")
        assert result.value is None
        assert "does not apply" in result.reason


class TestMedian:
    def test_it_equals_lifelines(self):
        frame = cohort("lung_advanced").train
        time, event = frame["time"].to_numpy(), frame["event"].to_numpy() == 1
        fitted = KaplanMeierFitter().fit(time, event)
        low, high = median_survival_times(fitted.confidence_interval_survival_function_).to_numpy().ravel()
        median, interval = kaplan_meier_median(time, event)
        assert median == fitted.median_survival_time_
        assert interval == (low, high)

    def test_it_is_compared_with_the_protocol_where_that_is_declared(self):
        facts = cohort("lung_advanced")
        for expected, verdict in (((250, 400), Verdict.PASS), ((20, 100), Verdict.BLOCK), ((900, 1200), Verdict.BLOCK)):
            policy = POLICY.with_overrides({"data_quality": {"protocol_median_days": expected}})
            assert checked(facts, "DQ9", policy).verdict is verdict


class TestSecondIdentifiers:
    def test_the_same_patients_with_other_measurements(self):
        facts = cohort("breast")
        again = facts.test.iloc[:12].assign(
            subject_id=[f"again-{number}" for number in range(12)],
            er=facts.test["er"].iloc[:12] + 3,
            pgr=facts.test["pgr"].iloc[:12] + 1,
        )
        result = checked(with_frames(facts, train=pd.concat([facts.train, again], ignore_index=True)), "DQ7")
        assert result.verdict is Verdict.BLOCK
        assert "another identifier" in result.reason

    def test_pair_counts_equal_brute_force(self):
        facts = cohort("breast")
        first, second = facts.train.iloc[:150], pd.concat([facts.test.iloc[:100], facts.train.iloc[:4]])
        names = [c.name for c in facts.contract.attributes if c.sensitive or not c.measured]
        keys = [*names, "index_date", "time", "event"]
        times = pd.concat([first, second]).groupby(["time", "event"]).size()
        expected = sum(
            a == b and times[a[-2], a[-1]] <= 3
            for a in first[keys].itertuples(index=False, name=None)
            for b in second[keys].itertuples(index=False, name=None)
        )
        assert near_pairs_between(first, second, facts.contract).found == expected >= 4

    @pytest.mark.parametrize("slug", ["colon", "renal_wilms", "breast_fna"])
    def test_different_patients_agree_no_more_than_by_chance(self, slug):
        facts = cohort(slug)
        pairs = near_pairs_between(facts.train, facts.test, facts.contract)
        assert pairs.tail > POLICY.data_quality.coincidence
