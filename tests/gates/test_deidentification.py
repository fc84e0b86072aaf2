"""Prose, fine dates, high ages, postal codes, small groups are found; codes, measurements, large groups are not."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from clinical_assets.gates.facts import BundleState, ExportTable, ReleaseFacts
from clinical_assets.gates.regulatory import gate as regulatory
from clinical_assets.gates.regulatory.disclosure import fine_details, small_cells
from clinical_assets.gates.regulatory.free_text import free_text_columns
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import POLICY, found, release, with_contract, with_frames


def judged(facts: ReleaseFacts, id: str) -> CheckResult:
    return found(regulatory.judge(facts, POLICY), id)


class TestFreeText:
    @pytest.mark.parametrize("note", ["Seen by John Smith in clinic", "moved to Leeds last spring"])
    def test_one_sentence_in_an_undeclared_column_blocks_and_is_not_quoted(self, note):
        facts = release("colon")
        result = judged(with_frames(facts, train=facts.train.assign(comment=[note] * len(facts.train))), "RG3")
        assert result.verdict is Verdict.BLOCK
        assert "comment" in result.reason
        assert note not in str(result)

    def test_prose_among_the_codes_of_a_declared_category_blocks(self):
        facts = release("colon")
        changed = facts.train["rx"].astype(object).where(facts.train.index != 5, "switched after Dr Grey called")
        assert judged(with_frames(facts, train=facts.train.assign(rx=changed)), "RG3").verdict is Verdict.BLOCK

    def test_declared_categories_are_codes_however_long(self):
        facts = with_contract(release("colon"), "rx", categories=["Obs", "Lev", "Lev+5FU", "any other treatment given"])
        changed = facts.train["rx"].astype(object).where(facts.train.index != 5, "any other treatment given")
        assert free_text_columns(with_frames(facts, train=facts.train.assign(rx=changed)), 3, 50) == ({}, 3)

    def test_an_undeclared_column_of_single_codes_is_no_prose_until_there_are_many(self):
        facts = release("colon")
        few = with_frames(facts, train=facts.train.assign(grade=["g1", "g2"] * (len(facts.train) // 2) + ["g1"] * (
            len(facts.train) % 2)))  # fmt: skip
        many = with_frames(facts, train=facts.train.assign(grade=[f"x{k}" for k in range(len(facts.train))]))
        assert judged(few, "RG3").verdict is Verdict.PASS
        assert judged(many, "RG3").verdict is Verdict.BLOCK


class TestFineDetails:
    @pytest.mark.parametrize(
        ("values", "name"),
        [
            (["1950-03-07", "1961-11-30"], "born"),
            (["07/03/1950", "30/11/1961"], "seen"),
            (["02139", "94110"], "zip"),
            ([91, 93], "age"),
            (pd.to_datetime(["1990-02-01", "1991-07-09"]), "operated"),
        ],
    )
    def test_they_are_found_by_column(self, values, name):
        assert list(fine_details(pd.DataFrame({name: values}), release("colon").contract)) == [name]

    @pytest.mark.parametrize(
        ("values", "name"),
        [
            (["1950", "1961"], "born"),
            ([89, 64], "age"),
            ([12345, 54321], "platelets"),
            (["T1", "T2"], "stage"),
            (pd.to_datetime(["1990-01-01", "1991-01-01"]), "year"),
            (pd.to_datetime(["1986-05-05", "1986-05-05"]), "index_date"),
        ],
    )
    def test_years_measurements_and_a_date_shared_by_all_are_not(self, values, name):
        assert fine_details(pd.DataFrame({name: values}), release("colon").contract) == {}

    def test_inside_the_platform_they_are_named_on_the_way_out_they_block(self):
        facts = release("breast")
        assert judged(facts, "RG4").verdict is Verdict.WARN
        exported = ExportTable("patients", pd.DataFrame({"age": [95.0, 50.0]}))
        assert judged(replace(facts, exports=(exported,)), "RG4").verdict is Verdict.BLOCK


class TestSmallGroups:
    @staticmethod
    def table(seed: int, rows: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        frame = {"sex": rng.choice(["female", "male"], rows), "age": rng.integers(40, 80, rows).astype(float)}
        return pd.DataFrame(frame | {"event": rng.integers(0, 2, rows).astype(bool)})

    @pytest.mark.parametrize(("seed", "rows"), [(0, 60), (1, 90), (2, 400), (3, 1200)])
    def test_k_is_that_of_counting_every_combination(self, seed, rows):
        contract, frame = release("colon").contract, self.table(seed, rows)
        edges = contract.bands["age"]
        counted = Counter(
            (sex, sum(age >= edge for edge in edges)) for sex, age in zip(frame["sex"], frame["age"], strict=True)
        )
        result = small_cells(ExportTable("patients", frame), contract, 11, 1)
        assert result.smallest == min(counted.values())
        assert bool(result.faults) == (min(counted.values()) < 11)

    def test_a_group_that_shares_one_outcome_is_disclosed(self):
        frame = pd.DataFrame({"sex": ["female"] * 20 + ["male"] * 20, "event": [True] * 20 + [True, False] * 10})
        result = small_cells(ExportTable("patients", frame), release("colon").contract, 11, 2)
        assert result.faults == ("patients: 1 groups share one outcome",)

    @pytest.mark.parametrize(("counts", "blocked"), [([11, 0, 40], False), ([10, 30], True)])
    def test_cells_of_an_aggregated_table(self, counts, blocked):
        table = ExportTable("by_group", pd.DataFrame({"group": range(len(counts)), "n": counts}), count="n")
        verdict = judged(replace(release("colon"), exports=(table,)), "RG5").verdict
        assert verdict is (Verdict.BLOCK if blocked else Verdict.PASS)

    def test_a_small_count_in_the_bundle_blocks(self):
        bundle = BundleState("b" * 64, ("report.html",), ("card.json",))
        assert judged(replace(release("colon"), bundle=bundle), "RG5").verdict is Verdict.PASS
        bad = replace(bundle, small_cells=("tables/cohort.json/rows/3/n",))
        assert judged(replace(release("colon"), bundle=bad), "RG5").verdict is Verdict.BLOCK
