"""The flow of rows and Table 1: what they show, and that no small cell can be read off or worked out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_assets.gates.data_quality.cohort_tables import _suppressed, by_column, row_flow, table_one

from .cohorts import cohort


def flow(*rows: int) -> list[tuple[int | str, int | str]]:
    manifest = {"cancer": "x", "row_flow": [{"step": f"step {at}", "rows": number} for at, number in enumerate(rows)]}
    return [(step.rows, step.excluded) for step in row_flow(manifest)]


class TestRowFlow:
    def test_the_steps_of_a_manifest(self):
        assert flow(1858, 929) == [(1858, 0), (929, 929)]
        assert flow(100, 100, 40) == [(100, 0), (100, 0), (40, 60)]

    def test_a_small_step_is_told_with_the_next(self):
        assert flow(100, 95, 60) == [(100, 0), (60, 40)]

    def test_a_small_last_step_is_told_with_the_one_before(self):
        assert flow(200, 100, 97) == [(200, 0), (97, 103)]

    def test_a_flow_that_leaves_out_fewer_than_eleven_in_all(self):
        assert flow(100, 97) == [("withheld", 0), (97, "<11")]

    @given(st.lists(st.integers(0, 30), max_size=6))
    def test_no_difference_of_one_to_ten_can_be_formed(self, left_out):
        steps = flow(*np.cumsum([200, *(-np.array(left_out, dtype=int))]).tolist())
        shown = [rows for rows, _ in steps if isinstance(rows, int)]
        assert all(not 0 < first - second < 11 for first in shown for second in shown if first > second)

    def test_a_flow_that_gains_rows_is_refused(self):
        with pytest.raises(ValueError, match="gains rows"):
            flow(10, 20)
        with pytest.raises(ValueError, match="no row flow"):
            row_flow({"cancer": "x"})


class TestTableOne:
    def test_its_numbers_are_those_of_the_frames(self):
        facts = cohort("colon")
        rows = {(row["characteristic"], row["level"]): row for row in table_one(
            {"train": facts.train, "test": facts.test}, facts.contract).records()}  # fmt: skip
        assert rows["patients", ""]["test"] == str(len(facts.test))
        males = int((facts.test["sex"] == "male").sum())
        assert rows["sex", "male"]["test"] == f"{males} ({males / len(facts.test):.1%})"
        low, middle, high = facts.train["age"].quantile([0.25, 0.5, 0.75])
        assert rows["age, year", "median [quartiles]"]["train"] == f"{middle:.4g} [{low:.4g}, {high:.4g}]"
        assert rows["perfor", "yes"]["test"] == "<11"
        assert rows["perfor", "no"]["test"] == "withheld"

    def test_small_sites_are_pooled(self):
        frame = pd.DataFrame({"site": ["A"] * 30 + ["B"] * 20 + ["C"] * 6 + ["D"] * 7, "age": range(63)})
        assert {name: len(rows) for name, rows in by_column(frame, "site").items()} == {"A": 30, "B": 20, "other": 13}

    @settings(max_examples=60)
    @given(st.lists(st.lists(st.integers(0, 40), min_size=3, max_size=3), min_size=2, max_size=5))
    def test_no_small_cell_is_shown_or_follows_from_the_rest_of_its_group(self, counts):
        table = np.array(counts)
        shown = np.array(_suppressed(table), dtype=object)
        hidden = np.vectorize(lambda text: text in ("<11", "withheld"))(shown)
        assert hidden[(table > 0) & (table < 11)].all()
        for lines, values in ((hidden, table), (hidden.T, table.T)):
            for line, amounts in zip(lines, values, strict=True):
                assert line.sum() != 1 or (amounts > 0).sum() == 1
