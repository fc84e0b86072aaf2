"""`clinical new-cancer`: when it refuses, and that whatever it writes loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.files import write_new
from clinical_assets.trials.snapshot import SnapshotStore, ingest

from .drafts import SMALL, csv, run, small, written


def test_an_existing_file_is_left_as_it_is(tmp_path: Path) -> None:
    file = csv(small(), tmp_path / "a.csv")
    written("mine", file, *SMALL)
    target = tmp_path / "configs" / "cancers" / "mine.yaml"
    target.write_text("mine: own\n")
    result = run("mine", "--from", str(file), *SMALL)
    assert (result.exit_code, target.read_text()) == (1, "mine: own\n")
    assert [path.name for path in target.parent.iterdir()] == ["mine.yaml"]


def test_two_who_write_at_once_do_not_overwrite_each_other(tmp_path: Path) -> None:
    assert write_new(tmp_path / "a", b"first")
    assert not write_new(tmp_path / "a", b"second")
    assert [(path.name, path.read_bytes()) for path in tmp_path.glob("*a*")] == [("a", b"first")]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, (), r"name the outcome: --time COL and --event COL, or --label COL; the columns are patient_id"),
        ({}, ("--time", "months"), r"name the outcome"),
        ({}, ("--time", "months", "--event", "died", "--label", "died"), r"name the outcome"),
        ({}, (*SMALL, "--where", "stag=I"), r"no column 'stag'; did you mean 'stage'\?"),
        ({}, ("--time", "month", "--event", "died"), r"no column 'month'; did you mean 'months'\?"),
        ({}, ("--time", "months", "--event", "stage"), r"holds 3 different codes.*--event-value CODE .*I, II, III"),
        ({}, (*SMALL, "--event-value", "dead"), r"does not hold dead; say which mean the event.*\(.*0, 1\)"),
        ({"died": ["A", "B"] * 30}, SMALL, r"it is not clear which code is the event; .*--event-value"),
        ({"patient_id": ["P-1", "P-2"] * 30}, SMALL, r"'patient_id' repeats or misses a subject in 58 of 60 rows"),
        ({"months": ["long"] * 60}, SMALL, r"column 'months' holds text where a number is declared"),
        ({}, (*SMALL[:4], "--time-unit", "fortnights"), r"--time-unit fortnights: use one of days, weeks"),
        ({}, (*SMALL, "--icd10", "ovary"), r"icd10"),
        ({}, (*SMALL, "--owner", "nobody"), r"owner 'nobody' must be an e-mail address or"),
    ],
)
def test_what_allows_no_draft_is_said_and_nothing_is_written(
    changes: dict[str, Any], options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    result = run("mine", "--from", str(csv(small(**changes), tmp_path / "a.csv")), *options)
    assert isinstance(result.exception, ValueError)
    with pytest.raises(type(result.exception), match=message):
        raise result.exception
    assert not list((tmp_path / "configs").rglob("*mine*"))


def test_no_feature_left_is_said_with_the_reason_for_each_column(tmp_path: Path) -> None:
    frame = small()[["patient_id", "months", "died"]].assign(centre="one")
    result = run("mine", "--from", str(csv(frame, tmp_path / "a.csv")), *SMALL)
    assert "no column can be a feature: " in str(result.exception)
    assert "centre (Constant)" in str(result.exception)


def test_a_file_of_unknown_kind_names_the_kinds(tmp_path: Path) -> None:
    result = run("mine", "--from", "cohort.xlsx", *SMALL)
    assert r"the suffix must be one of .csv, .parquet, .xpt, .sas7bdat" in str(result.exception)
    (tmp_path / "source.yaml").write_text("kind: csv\n")
    result = run("mine", "--from", str(tmp_path / "source.yaml"), *SMALL)
    assert "has no `source` section" in str(result.exception)


def test_a_url_with_a_password_is_refused_without_repeating_it() -> None:
    result = run("mine", "--from", "https://reader:hunter2@host/cohort.csv", *SMALL)
    assert "path: holds a user or a secret" in str(result.exception)
    assert "hunter2" not in str(result.exception)


def test_a_column_that_appears_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("months,died,marker,marker\n1,0,2,3\n")
    result = run("mine", "--from", str(tmp_path / "a.csv"), *SMALL)
    assert "column marker appears more than once; rename it" in str(result.exception)


def test_the_program_ends_with_code_2_and_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clinical_assets.cli", "new-cancer", "mine", "--from"]
    done = subprocess.run([*command, str(tmp_path / "none.csv")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"clinical: file {tmp_path / 'none.csv'} does not exist; correct `source.path` or put the file there"
    ]


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)
odd_text = st.sampled_from(["a: b", "#", "yes", "no", "- x", "{", "'", "null", "1e5", "é", "2001-01-01", ""])
number = st.floats(allow_nan=True, allow_infinity=False, width=32)
cells = st.one_of(
    *(
        st.lists(kind, min_size=20, max_size=20)
        for kind in (number, st.integers(-3, 12), st.booleans(), odd_text, st.text())
    )
)


@given(table=st.dictionaries(names, cells, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_draft_that_is_written_loads_and_ingests_whatever_the_columns_hold(
    table: dict[str, list[Any]], tmp_path: Path
) -> None:
    frame = pd.DataFrame(table).assign(months_=np.arange(20) + 1.5, died_=[0, 1] * 10, marker_=np.arange(20) % 7)
    file = tmp_path / "a.parquet"
    frame.to_parquet(file)
    target = tmp_path / "configs" / "cancers" / "mine.yaml"
    target.unlink(missing_ok=True)
    result = run("mine", "--from", str(file), "--time", "months_", "--event", "died_", "--rows-are-subjects")
    assert result.exit_code == 0, result.exception
    cancer = load_catalog()["mine"]
    ingest("mine", cancer.source, cancer.contract, SnapshotStore(tmp_path / "objects"))
