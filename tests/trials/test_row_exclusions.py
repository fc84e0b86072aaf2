"""Rows that are marked to be left out, and subjects who have several rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.rows import apply_row_rules
from clinical_assets.trials.sources.spec import SourceSpec

from .cohorts import ORIGIN, contract, source

MARKED = """patient,enrolled,age,Marker (ng/mL),stage,treated,site,months,status
007,2001-03-01,61,12.5,1,true,,24,dead
010,2001-05-01,48,NA,2,false,,12,alive
001,2000-01-01,70,3,2,1,withdrawn,48,dead
007,2001-03-01,61,99,1,true,,24,dead
"""


def rules(**given: object) -> SourceSpec:
    return SourceSpec.model_validate({"kind": "csv", "path": "cohort.csv", **ORIGIN, **given})


def test_marked_rows_and_second_rows_of_a_subject_are_steps_of_the_row_flow(tmp_path: Path) -> None:
    marked = source(tmp_path, MARKED, absent=["site"], first_per=["patient"])
    snapshot = ingest("tiny", marked, contract(), SnapshotStore(tmp_path))
    assert [(step.step, step.rows) for step in snapshot.manifest.row_flow] == [
        ("rows in the source", 4),
        ("site absent", 3),
        ("first row per patient", 2),
    ]
    kept = snapshot.read()
    assert kept["subject_id"].tolist() == ["007", "010"]
    assert kept.loc[0, "marker"] == 12.5, "the first of the two rows, in the order of the source"


def test_a_column_that_is_not_there_is_named(tmp_path: Path) -> None:
    spec = source(tmp_path, absent=["nowhere"], first_per=["neither"])
    message = r"`source.absent` but missing: nowhere; .*`source.first_per` but missing: neither"
    with pytest.raises(ContractError, match=message):
        ingest("tiny", spec, contract(), SnapshotStore(tmp_path))


keys = st.one_of(st.none(), st.sampled_from(["1", "2", "3"]), st.sampled_from([1, 2.0]))


@given(st.lists(st.tuples(keys, keys), min_size=1, max_size=15))
def test_one_row_is_left_per_subject_and_rows_without_identifier_are_never_merged(rows: list[tuple]) -> None:
    frame = pd.DataFrame(rows, columns=["site", "patient"], dtype=object).assign(place=range(len(rows)))
    kept, _ = apply_row_rules(frame, rules(first_per=["site", "patient"]))
    seen: set[tuple[float, float]] = set()
    expected = []
    for place, (site, patient) in enumerate(rows):
        if site is None or patient is None:
            expected.append(place)
        elif (float(site), float(patient)) not in seen:
            seen.add((float(site), float(patient)))
            expected.append(place)
    assert kept["place"].tolist() == expected
