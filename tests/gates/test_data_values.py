"""DQ4, DQ5, DQ14, DQ15, DQ16: values that are codes, numbers in another unit, categories and columns gone wrong."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import comb

import numpy as np
import pandas as pd
import pytest

from clinical_assets.gates.data_quality import gate as data_quality
from clinical_assets.gates.data_quality.category_changes import category_counts
from clinical_assets.gates.data_quality.column_sanity import identifier_auc
from clinical_assets.gates.data_quality.duplicates import expected_equal_pairs
from clinical_assets.gates.data_quality.reference_cohort import Comparison
from clinical_assets.gates.data_quality.unit_conversion import conversions
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import Verdict

from .cohorts import POLICY, checked, cohort, found, with_contract, with_frames


def spoilt(facts: ReleaseFacts, column: str, value: object, every: int = 25, side: str = "train") -> ReleaseFacts:
    """Every so many rows of one side hold `value`."""
    frame = getattr(facts, side).copy()
    frame[column] = frame[column].astype(object) if isinstance(value, str) else frame[column]
    frame.loc[frame.index % every == 0, column] = value
    return with_frames(facts, **{side: frame})


@pytest.mark.parametrize("slug", ["colon", "breast", "breast_fna", "renal_wilms"])
def test_real_cohorts_hold_no_codes_wrong_units_or_meaningless_columns(slug):
    report = data_quality.judge(cohort(slug), POLICY)
    for id in ("DQ4", "DQ5", "DQ14", "DQ15", "DQ16"):
        assert found(report, id).verdict in (Verdict.PASS, Verdict.WARN), found(report, id)


class TestSentinels:
    @pytest.mark.parametrize("code", [-9, 99, 999, -1])
    def test_a_code_for_unknown_among_the_ages(self, code):
        result = checked(spoilt(cohort("colon"), "age", float(code)), "DQ4")
        assert result.verdict is Verdict.BLOCK
        assert f"age = {code}" in result.reason

    def test_a_code_inside_a_wide_range_towers_over_its_neighbours(self):
        result = checked(spoilt(cohort("breast"), "er", 999.0), "DQ4")
        assert result.verdict is Verdict.BLOCK
        assert "er = 999" in result.reason

    @pytest.mark.parametrize("word", ["UNK", "n/a", "?", "9"])
    def test_a_word_for_unknown_among_the_categories(self, word):
        assert checked(spoilt(cohort("colon"), "rx", word), "DQ4").verdict is Verdict.BLOCK

    def test_a_declared_category_beside_empty_cells_says_unknown_twice(self):
        facts = with_contract(cohort("colon"), "rx", categories=["Obs", "Lev", "Lev+5FU", "unknown"], max_missing=0.2)
        twice = spoilt(spoilt(facts, "rx", "unknown"), "rx", None, every=31)
        result = checked(twice, "DQ4")
        assert result.verdict is Verdict.WARN
        assert result.details["several_nulls"] == {"rx": ["unknown"]}

    def test_zero_dates_far_from_all_others(self):
        result = checked(spoilt(cohort("breast"), "index_date", pd.Timestamp("1900-01-01")), "DQ4")
        assert result.verdict is Verdict.BLOCK
        assert "index_date = 1900-01-01" in result.reason

    def test_a_single_999_may_be_a_measurement(self):
        facts = with_contract(cohort("colon"), "nodes", plausible_range=[0, 2000])
        train = facts.train.copy()
        train.loc[0, "nodes"] = 999.0
        assert checked(with_frames(facts, train=train), "DQ4").verdict is Verdict.WARN

    def test_without_rows_nothing_is_known(self):
        facts = cohort("colon")
        empty = with_frames(facts, train=facts.train.iloc[:0], test=facts.test.iloc[:0])
        assert checked(empty, "DQ4").verdict is Verdict.INCONCLUSIVE


class TestUnits:
    @pytest.mark.parametrize(("factor", "conversion"), [(12.0, "months to years"), (365.25, "days to years")])
    def test_ages_in_another_unit_leave_their_range(self, factor, conversion):
        facts = cohort("colon")
        result = checked(with_frames(facts, test=facts.test.assign(age=facts.test["age"] * factor)), "DQ5")
        assert result.verdict is Verdict.BLOCK
        assert conversion in result.reason

    def test_a_shift_inside_the_range_is_found_by_the_ratio_of_medians(self):
        facts = cohort("breast")
        result = checked(with_frames(facts, test=facts.test.assign(er=facts.test["er"] / 10.0)), "DQ5")
        assert result.verdict is Verdict.BLOCK
        assert "er" in result.details["wrong"]

    def test_a_part_in_another_unit_on_both_sides(self):
        rng = np.random.default_rng(3)
        facts = with_contract(cohort("colon"), "age", plausible_range=[0, 50_000])
        parts = [
            frame.assign(age=frame["age"] * np.where(rng.random(len(frame)) < 0.2, 12.0, 1.0))
            for frame in (facts.train, facts.test)
        ]
        result = checked(with_frames(facts, *parts), "DQ5")
        assert result.verdict is Verdict.BLOCK
        assert "months to years" in result.reason

    def test_the_champions_data_are_the_reference_when_both_sides_are_wrong(self):
        facts = with_contract(cohort("breast"), "er", plausible_range=[0, 100_000])
        wrong = with_frames(
            facts,
            train=facts.train.assign(er=facts.train["er"] * 10.0),
            test=facts.test.assign(er=facts.test["er"] * 10.0),
        )
        assert checked(wrong, "DQ5").verdict is Verdict.PASS
        result = checked(replace(wrong, champion_train=facts.train), "DQ5")
        assert result.verdict is Verdict.BLOCK
        assert "champion" in result.reason

    def test_older_patients_are_no_conversion(self):
        facts = cohort("colon")
        older = facts.test.assign(age=(facts.test["age"] * 1.3).clip(upper=110).round())
        assert checked(with_frames(facts, test=older), "DQ5").verdict is Verdict.PASS

    def test_forty_rows_give_no_false_alarm(self):
        facts = cohort("breast")
        few = with_frames(facts, train=facts.train.iloc[:28], test=facts.test.iloc[:12])
        assert checked(few, "DQ5").verdict is Verdict.PASS

    def test_every_factor_is_above_one(self):
        assert all(
            factor > 1 for unit in ("year", "mg/dL", "kg", "mm", "cm2", "1") for factor in conversions(unit).values()
        )


class TestCategories:
    def test_a_category_that_nobody_declared(self):
        result = checked(spoilt(cohort("colon"), "rx", "Placebo", every=300, side="test"), "DQ14")
        assert result.verdict is Verdict.BLOCK
        assert "Placebo" in result.reason

    def test_a_category_that_has_vanished(self):
        facts = cohort("colon")
        gone = facts.test[facts.test["rx"] != "Lev"].reset_index(drop=True)
        result = checked(with_frames(facts, test=gone), "DQ14")
        assert result.verdict is Verdict.BLOCK
        assert "is gone" in result.reason

    def test_a_rare_category_on_one_side_only_is_chance(self):
        facts = with_contract(cohort("colon"), "rx", categories=["Obs", "Lev", "Lev+5FU", "other"])
        test = facts.test.copy()
        test.loc[0, "rx"] = "other"
        assert checked(with_frames(facts, test=test), "DQ14").verdict is Verdict.PASS

    def test_a_cohort_without_categories(self):
        result = checked(cohort("breast_fna"), "DQ14")
        assert (result.verdict, result.value) == (Verdict.PASS, None)
        assert "does not apply" in result.reason

    def test_the_probability_equals_counting(self):
        contract = cohort("colon").contract
        comparison = Comparison(
            "x", pd.DataFrame({"rx": ["Obs"] * 6 + ["Lev"] * 6}), pd.DataFrame({"rx": ["Obs"] * 5 + ["Lev+5FU"] * 3})
        )
        changes = {change.category: change for change in category_counts(comparison, contract, 0.01)}
        assert changes["Lev+5FU"].chance == pytest.approx(comb(17, 5) / comb(20, 8))
        assert changes["Lev"].chance == pytest.approx(comb(14, 8) / comb(20, 8))


class TestColumns:
    def test_a_column_that_numbers_the_rows(self):
        facts = cohort("colon")
        train, test = facts.train.copy(), facts.test.copy()
        train["nodes"], test["nodes"] = np.arange(len(train)), np.arange(len(test)) + len(train)
        result = checked(with_frames(facts, train=train.astype({"nodes": float}), test=test), "DQ15")
        assert result.verdict is Verdict.BLOCK
        assert "numbers the rows" in result.reason

    def test_a_column_that_runs_with_the_identifier(self):
        facts = cohort("colon")
        frames = [frame.assign(nodes=frame["subject_id"].astype(float) * 17 + 3) for frame in (facts.train, facts.test)]
        result = checked(with_frames(facts, *frames), "DQ15")
        assert result.verdict is Verdict.BLOCK
        assert "identifier" in result.reason

    def test_a_constant_column_and_one_that_is_constant_on_one_side(self):
        facts = cohort("colon")
        both = with_frames(facts, train=facts.train.assign(adhere=0.0), test=facts.test.assign(adhere=0.0))
        assert checked(both, "DQ15").verdict is Verdict.BLOCK
        assert checked(with_frames(facts, test=facts.test.assign(adhere=0.0)), "DQ15").verdict is Verdict.BLOCK
        rare = with_frames(facts, test=facts.test[facts.test["perfor"] == 0].reset_index(drop=True).iloc[:40])
        assert checked(rare, "DQ15").verdict is Verdict.PASS

    def test_identifiers_that_tell_the_outcome(self):
        facts = cohort("colon")
        told = [
            frame.assign(subject_id=[f"{int(time < 1826)}{number:05d}0" for number, time in enumerate(frame["time"])])
            for frame in (facts.train, facts.test)
        ]
        result = checked(with_frames(facts, *told), "DQ15")
        assert result.verdict is Verdict.BLOCK
        assert result.interval[0] > POLICY.data_quality.identifier_auc_block

    def test_a_file_sorted_by_the_outcome_only_warns(self):
        facts = cohort("colon")
        frame = pd.concat([facts.train, facts.test], ignore_index=True).sort_values("time", ignore_index=True)
        frame["subject_id"] = [str(number) for number in range(len(frame))]
        result = checked(with_frames(facts, train=frame.iloc[::2], test=frame.iloc[1::2]), "DQ15")
        assert result.verdict is Verdict.WARN

    def test_an_even_draw_of_such_a_file_only_warns_and_an_uneven_one_blocks(self):
        facts = cohort("colon")
        frame = pd.concat([facts.train, facts.test], ignore_index=True).sort_values("time", ignore_index=True)
        frame["subject_id"] = [str(number) for number in range(len(frame))]
        even = frame.sample(frac=0.7, random_state=1)
        kept = with_frames(facts, train=even.iloc[::2], test=even.iloc[1::2])
        assert checked(kept, "DQ15").verdict is Verdict.WARN
        middle = frame[(frame.index < 300) | (frame.index > 550)]
        uneven = with_frames(facts, train=middle.iloc[::2], test=middle.iloc[1::2])
        assert checked(uneven, "DQ15").verdict is Verdict.BLOCK

    def test_identifiers_without_a_number_have_no_order(self):
        facts = cohort("colon")
        frame = facts.train.assign(subject_id=[f"{number}-x" for number in facts.train["subject_id"]])
        assert identifier_auc(frame, facts.contract) is None


class TestConflicts:
    def test_copies_with_the_other_label(self):
        facts = cohort("breast_fna")
        copies = facts.train.iloc[:12].assign(
            subject_id=[f"copy-{number}" for number in range(12)], label=1 - facts.train["label"].iloc[:12]
        )
        result = checked(with_frames(facts, train=pd.concat([facts.train, copies], ignore_index=True)), "DQ16")
        assert result.verdict is Verdict.WARN
        assert result.details["rows_in_conflict"] == 24

    def test_coarse_features_make_equal_patients_by_chance(self):
        result = checked(cohort("renal_wilms"), "DQ16")
        assert (result.verdict, result.value) == (Verdict.PASS, None)
        assert "does not apply" in result.reason

    def test_expected_pairs_are_total_times_the_chance_of_agreement(self):
        contract = cohort("renal_wilms").contract
        names = [column.name for column in contract.attributes]
        frame = cohort("renal_wilms").train.iloc[:30].reset_index(drop=True)
        pairs = [(i, j) for i, j in product(range(30), range(30)) if i < j]
        share = [np.mean([frame[name].iloc[i] == frame[name].iloc[j] for i, j in pairs]) for name in names]
        assert expected_equal_pairs(frame, contract) == pytest.approx(len(pairs) * np.prod(share))

    def test_a_site_that_codes_the_outcome_the_other_way_round(self):
        facts = cohort("breast_fna")
        policy = GatePolicy.with_overrides({"data_quality": {"site_column": "site"}})
        rng = np.random.default_rng(7)
        sited = [frame.assign(site=rng.choice(list("ABCD"), len(frame))) for frame in (facts.train, facts.test)]
        assert checked(with_frames(facts, *sited), "DQ16", policy).details["inverted_sites"] == 0
        flipped = [
            frame.assign(label=np.where(frame["site"] == "C", 1 - frame["label"], frame["label"])) for frame in sited
        ]
        result = checked(with_frames(facts, *flipped), "DQ16", policy)
        assert result.verdict is Verdict.WARN
        assert result.details["inverted_sites"] == 1

    def test_thirty_known_outcomes_are_needed(self):
        facts = cohort("breast_fna")
        few = with_frames(facts, train=facts.train.iloc[:15], test=facts.test.iloc[:5])
        assert checked(few, "DQ16").verdict is Verdict.INCONCLUSIVE


def test_a_category_of_few_patients_is_not_counted_in_the_open():
    facts = cohort("colon")
    odd = facts.test.assign(sex=facts.test["sex"].astype(object).mask(facts.test.index < 3, "not declared"))
    for id in ("DQ1", "DQ14"):
        result = checked(with_frames(facts, test=odd), id)
        assert result.verdict is Verdict.BLOCK
        assert "(<11 rows)" in result.reason
