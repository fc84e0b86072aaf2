from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter

from clinical_assets.catalog import load_catalog
from clinical_assets.gates.data_quality import gate as data_quality
from clinical_assets.gates.data_quality.duplicates import pairs_between, pairs_within
from clinical_assets.gates.data_quality.outcome_sanity import kaplan_meier_risk
from clinical_assets.gates.verdict import Verdict
from clinical_assets.trials.snapshot import SnapshotStore, ingest

from .cohorts import POLICY, ROOT, checked, found, release, with_contract, with_frames


@pytest.mark.parametrize("slug", ["colon", "breast", "breast_fna", "renal_wilms"])
def test_a_clean_real_cohort_is_neither_blocked_nor_in_error(slug):
    report = data_quality.judge(release(slug), POLICY)
    assert not {check.verdict for check in report.checks} & {Verdict.BLOCK, Verdict.ERROR}, report.checks


class TestContract:
    def test_a_unit_error_of_ten_leaves_the_plausible_range(self):
        facts = release("colon")
        result = checked(with_frames(facts, test=facts.test.assign(age=facts.test["age"] * 10)), "DQ1")
        assert result.verdict is Verdict.BLOCK
        assert "age" in result.reason
        assert "18 to 110 year" in result.reason

    def test_columns_in_another_order(self):
        facts = release("colon")
        swapped = facts.train[["subject_id", "index_date", "sex", "rx", *facts.train.columns[4:]]]
        assert checked(with_frames(facts, train=swapped), "DQ1").verdict is Verdict.BLOCK

    @pytest.mark.parametrize(
        "change", [{"age": "old"}, {"rx": "Placebo"}, {"status_at_relapse": 1.0}, {"event": 2}, {"obstruct": 0.5}]
    )
    def test_wrong_type_category_extra_column_or_code(self, change):
        facts = release("colon")
        assert checked(with_frames(facts, train=facts.train.assign(**change)), "DQ1").verdict is Verdict.BLOCK

    def test_a_missing_column_blocks_the_gate(self):
        facts = release("colon")
        report = data_quality.judge(with_frames(facts, test=facts.test.drop(columns="nodes")), POLICY)
        assert found(report, "DQ1").verdict is Verdict.BLOCK
        assert report.verdict is Verdict.BLOCK

    def test_an_empty_split_blocks(self):
        facts = release("colon")
        assert checked(with_frames(facts, test=facts.test.iloc[:0]), "DQ1").verdict is Verdict.BLOCK

    def test_findings_hold_no_patient_values(self):
        facts = release("colon")
        result = checked(with_frames(facts, test=facts.test.assign(age=facts.test["age"] * 1000 + 7)), "DQ1")
        assert "007" not in str(result.details)


class TestMissingness:
    def test_more_missing_than_declared(self):
        facts = release("colon")
        train = facts.train.assign(nodes=facts.train["nodes"].where(facts.train.index % 4 != 0))
        result = checked(with_frames(facts, train=train), "DQ3")
        assert result.verdict is Verdict.BLOCK
        assert "nodes" in result.reason

    def test_a_shift_between_the_sides_warns(self):
        facts = with_contract(release("colon"), "differ", max_missing=0.5)
        test = facts.test.assign(differ=facts.test["differ"].where(facts.test.index % 4 != 0))
        assert checked(with_frames(facts, test=test), "DQ3").verdict is Verdict.WARN


class TestDuplicates:
    def test_the_same_subject_twice_in_test(self):
        facts = release("colon")
        twice = pd.concat([facts.test, facts.test.iloc[:1]], ignore_index=True)
        assert checked(with_frames(facts, test=twice), "DQ6").verdict is Verdict.BLOCK

    def test_a_copy_under_a_new_identifier_in_test(self):
        facts = release("colon")
        copy = facts.test.iloc[:1].assign(subject_id="again")
        result = checked(with_frames(facts, test=pd.concat([facts.test, copy], ignore_index=True)), "DQ6")
        assert result.verdict is Verdict.BLOCK
        assert result.value == 1.0

    def test_a_copy_in_train_warns(self):
        facts = release("colon")
        copy = facts.train.iloc[:1].assign(subject_id="again")
        result = checked(with_frames(facts, train=pd.concat([facts.train, copy], ignore_index=True)), "DQ6")
        assert result.verdict is Verdict.WARN

    def test_coincidences_in_a_coarse_cohort_only_warn(self):
        result = checked(release("renal_wilms"), "DQ6")
        assert result.verdict is Verdict.WARN
        assert not result.details["train"]["tail"] < 0.01

    def test_pair_counts_equal_brute_force(self):
        facts = release("renal_wilms")
        train, test = facts.train.iloc[:300], facts.test.iloc[:200]
        train = pd.concat([train, test.iloc[:3], train.iloc[:2]], ignore_index=True)
        columns = ["instit", "histol", "stage", "age", "time", "event"]
        columns = [name for name in train.columns if name not in ("subject_id", "index_date")]
        keys = [tuple(row) for row in train[columns].itertuples(index=False)]
        others = [tuple(row) for row in test[columns].itertuples(index=False)]
        within = sum(keys[i] == keys[j] for i in range(len(keys)) for j in range(i))
        between = sum(a == b for a in keys for b in others)
        assert pairs_within(train, facts.contract).found == within
        assert pairs_between(train, test, facts.contract).found == between


class TestSplit:
    def test_one_subject_on_both_sides(self):
        facts = release("breast")
        leaked = pd.concat([facts.train, facts.test.iloc[:1]], ignore_index=True)
        result = checked(with_frames(facts, train=leaked), "DQ7")
        assert result.verdict is Verdict.BLOCK
        assert result.details["same_identifier"] == 1

    @pytest.mark.parametrize("slug", ["colon", "breast", "breast_fna"])
    def test_a_subject_with_a_new_identifier_on_the_other_side(self, slug):
        facts = release(slug)
        leaked = pd.concat([facts.train, facts.test.iloc[:1].assign(subject_id="again")], ignore_index=True)
        result = checked(with_frames(facts, train=leaked), "DQ7")
        assert result.verdict is Verdict.BLOCK
        assert "new identifier" in result.reason

    def test_another_split_than_the_stored_one(self):
        facts = release("colon")
        moved = replace(facts, split=replace(facts.split, recomputed_digest="0" * 64))
        assert checked(moved, "DQ7").verdict is Verdict.BLOCK


class TestOutcome:
    @pytest.mark.parametrize("slug", ["colon", "breast", "lung_advanced", "melanoma", "renal_wilms"])
    def test_an_exchanged_censoring_indicator_is_found(self, slug):
        facts = release(slug)
        flipped = with_frames(
            facts,
            train=facts.train.assign(event=(1 - facts.train["event"]).astype("int8")),
            test=facts.test.assign(event=(1 - facts.test["event"]).astype("int8")),
        )
        assert checked(flipped, "DQ9").verdict is Verdict.BLOCK

    def test_an_indicator_that_is_exchanged_in_the_new_extract_alone_is_found(self):
        facts = release("renal_wilms")
        flipped = with_frames(facts, test=facts.test.assign(event=(1 - facts.test["event"]).astype("int8")))
        result = checked(flipped, "DQ9")
        assert result.verdict is Verdict.BLOCK
        assert "in test" in result.reason

    def test_an_order_that_few_patients_leave_to_chance_is_not_called_exchanged(self):
        facts = release("colon")
        late = facts.test.head(60).reset_index(drop=True)
        rank = late["time"].rank(pct=True) + np.random.default_rng(5).normal(0.0, 0.6, len(late))
        few = with_frames(
            facts, train=late.iloc[:0], test=late.assign(event=(rank > rank.quantile(0.75)).astype("int8"))
        )
        result = checked(few, "DQ9")
        assert result.details["event_before_censoring"] < POLICY.data_quality.polarity_floor
        assert "exchanged" not in result.reason

    def test_exchanged_labels_are_found(self):
        facts = release("breast_fna")
        flipped = with_frames(
            facts, train=facts.train.assign(label=1 - facts.train["label"]), test=facts.test.assign(label=1)
        )
        assert checked(flipped, "DQ9").verdict is Verdict.BLOCK

    @pytest.mark.parametrize(
        ("change", "named"),
        [({"time": 0.0}, "not positive"), ({"event": 3}, "neither 0 nor 1"), ({"time": np.nan}, "missing")],
    )
    def test_impossible_outcomes(self, change, named):
        facts = release("colon")
        result = checked(with_frames(facts, test=facts.test.assign(**change)), "DQ9")
        assert result.verdict is Verdict.BLOCK
        assert named in result.reason

    def test_months_taken_for_days(self):
        facts = release("colon")
        shrunk = with_frames(
            facts,
            train=facts.train.assign(time=facts.train["time"] / 30.4),
            test=facts.test.assign(time=facts.test["time"] / 30.4),
        )
        assert checked(shrunk, "DQ9").verdict in (Verdict.BLOCK, Verdict.INCONCLUSIVE)

    def test_follow_up_beyond_the_data_cut(self):
        facts = release("breast")
        cut = replace(facts, manifest={**facts.manifest, "data_cut": "1985-01-01"})
        result = checked(cut, "DQ9")
        assert result.verdict is Verdict.BLOCK
        assert "data cut" in result.reason

    def test_too_few_events_say_nothing_about_the_rate(self):
        facts = release("colon")
        few = with_frames(facts, train=facts.train[facts.train["event"] == 0], test=facts.test.iloc[:10])
        assert checked(few, "DQ9").verdict is Verdict.INCONCLUSIVE

    def test_the_rate_and_its_interval_equal_lifelines(self):
        frame = release("colon").train
        time, event = frame["time"].to_numpy(), frame["event"].to_numpy() == 1
        fitted = KaplanMeierFitter().fit(time, event)
        risk, (low, high) = kaplan_meier_risk(time, event, 1826.25)
        assert risk == pytest.approx(1 - fitted.predict(1826.25), abs=1e-12)
        expected = fitted.confidence_interval_survival_function_.loc[:1826.25].iloc[-1]
        assert (low, high) == pytest.approx((1 - expected.iloc[1], 1 - expected.iloc[0]), abs=1e-6)


class TestSampleSize:
    def test_a_small_test_split_is_inconclusive(self):
        assert checked(release("lung_advanced"), "DQ17").verdict is Verdict.INCONCLUSIVE
        assert checked(release("breast_fna"), "DQ17").verdict is Verdict.INCONCLUSIVE

    def test_few_training_events_per_input_warn(self):
        facts = release("colon")
        assert checked(with_frames(facts, train=facts.train.iloc[:150]), "DQ17").verdict is Verdict.WARN


class TestProvenance:
    @pytest.mark.parametrize("key", ["table_sha256", "rows", "contract_sha256"])
    def test_a_tampered_manifest_is_found(self, key):
        facts = release("colon")
        result = checked(replace(facts, manifest={**facts.manifest, key: "0" * 64}), "DQ18")
        assert result.verdict is Verdict.BLOCK
        assert key in result.reason

    def test_a_table_changed_on_disk_is_found(self):
        facts = release("colon")
        assert (
            checked(replace(facts, recomputed={"table_sha256": "0" * 64, "rows": 929}), "DQ18").verdict is Verdict.BLOCK
        )

    def test_nothing_recomputed_is_no_pass(self):
        assert checked(replace(release("colon"), recomputed={}), "DQ18").verdict is Verdict.BLOCK

    def test_dropped_rows_are_found(self):
        facts = release("colon")
        assert checked(replace(facts, train=facts.train.iloc[1:]), "DQ18").verdict is Verdict.BLOCK


@pytest.mark.parametrize(
    ("slug", "cut"), [("breast", date(1984, 1, 1)), ("breast", date(1992, 1, 1)), ("renal_wilms", date(1992, 1, 1))]
)
def test_a_data_cut_makes_neither_duplicates_nor_an_exchanged_indicator(slug, cut):
    cancer = load_catalog()[slug]
    snapshot = ingest(slug, cancer.source, cancer.contract, SnapshotStore(ROOT), cut)
    train, test = cancer.subject_split.parts(snapshot.read())
    facts = replace(release(slug), train=train, test=test, manifest=snapshot.manifest.model_dump(mode="json"))
    report = data_quality.judge(replace(facts, recomputed=snapshot.recompute()), POLICY)
    assert not {check.verdict for check in report.checks} & {Verdict.BLOCK, Verdict.ERROR}, report.checks
    flipped = replace(
        facts,
        train=train.assign(event=(1 - train["event"]).astype("int8")),
        test=test.assign(event=(1 - test["event"]).astype("int8")),
    )
    assert checked(flipped, "DQ9").verdict is Verdict.BLOCK
