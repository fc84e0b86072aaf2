"""From a file to a snapshot: values, structural errors, and what is left when something goes wrong."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from clinical_assets.trials.errors import ContractError, SnapshotError, SourceError
from clinical_assets.trials.snapshot import Snapshot, SnapshotStore, ingest

from .cohorts import COLUMNS, CSV, changed_column, contract, packaged, source

DAYS = 30.4375


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "objects")


def test_canonical_table_has_typed_columns_canonical_units_and_sorted_subjects(
    tmp_path: Path, store: SnapshotStore
) -> None:
    frame = ingest("tiny", source(tmp_path), contract(), store).read()
    expected = pd.DataFrame(
        {
            "subject_id": ["001", "007", "010"],
            "index_date": pd.to_datetime(["2000-01-01", "2001-03-01", "2001-05-01"]).astype("datetime64[us]"),
            "age": [70.0, 61.0, 48.0],
            "marker": [3.0, 12.5, np.nan],
            "stage": ["late", "early", "late"],
            "treated": [1.0, 1.0, 0.0],
            "time": [48 * DAYS, 24 * DAYS, 12 * DAYS],
            "event": np.array([1, 1, 0], dtype=np.int8),
        }
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_manifest_records_origin_and_counts(tmp_path: Path, store: SnapshotStore) -> None:
    manifest = ingest("tiny", source(tmp_path, where={"stage": 2}), contract(), store).manifest
    assert (manifest.rows, manifest.subjects, manifest.events) == (2, 2, 1)
    assert [(step.step, step.rows) for step in manifest.row_flow] == [("rows in the source", 3), ("stage = 2", 2)]
    assert manifest.contract_sha256 == contract().digest
    assert (manifest.data_status, manifest.licence, manifest.citation) == ("simulated", "CC0", "invented")


def test_same_content_is_stored_once_and_other_content_beside_it(tmp_path: Path, store: SnapshotStore) -> None:
    first = ingest("tiny", source(tmp_path), contract(), store)
    again = ingest("tiny", source(tmp_path), contract(), store)
    assert again.path == first.path
    assert again.manifest.extracted_utc == first.manifest.extracted_utc
    other = ingest("tiny", source(tmp_path, CSV.replace("61", "62")), contract(), store)
    assert other.sha256 != first.sha256
    relabelled = ingest("tiny", source(tmp_path), contract(columns=changed_column("age", description="x")), store)
    assert relabelled.sha256 == first.sha256
    assert relabelled.path != first.path
    assert len(list(store.directory("tiny").iterdir())) == 3
    assert store.find("tiny", first.digest) == first
    assert store.find("tiny", "0" * 64) is None


def test_implausible_values_are_kept_for_the_data_quality_gate(tmp_path: Path, store: SnapshotStore) -> None:
    text = CSV.replace(",61,", ",610,").replace(",24,dead", ",-3,dead")
    frame = ingest("tiny", source(tmp_path, text), contract(), store).read()
    assert 610.0 in frame["age"].tolist()
    assert frame["time"].min() == -3 * DAYS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CSV.replace("stage", "Stage"), r"declared but missing: stage; not declared in the contract: Stage"),
        (CSV.replace(",61,", ",sixty,"), r"column 'age' holds text where a integer is declared.*1 of 3 rows"),
        (CSV.replace(",61,", ",inf,"), r"column 'age' holds text"),
        (CSV.replace("true", "maybe"), r"column 'treated' holds text where a boolean is declared; declare a `recode`"),
        (CSV.replace(",12.5,1,", ",12.5,3,"), r"column 'stage' holds codes outside 1, 2; extend `recode` \(1 of 3"),
        (CSV.replace(",24,", ",NA,"), r"column 'months' is empty"),
        (CSV.replace(",dead", ",NA"), r"column 'status' is empty.*2 of 3 rows"),
        (CSV.replace("007,", ","), r"column 'patient' is empty; every row needs its subject"),
        (CSV.replace("2001-03-01", "1 March"), r"column 'enrolled' holds no valid date"),
        (CSV.splitlines()[0] + "\n", r"holds no rows"),
    ],
)
def test_structural_errors_name_cancer_file_column_and_rows(
    tmp_path: Path, store: SnapshotStore, text: str, message: str
) -> None:
    with pytest.raises(ContractError, match=message) as error:
        ingest("tiny", source(tmp_path, text), contract(), store)
    assert str(error.value).startswith("tiny: ")
    assert "cohort.csv" in str(error.value)
    assert not store.root.exists()


def test_csv_rows_of_another_length_are_counted_and_not_shown(tmp_path: Path, store: SnapshotStore) -> None:
    text = CSV.replace("007,2001-03-01", "secret,007,2001-03-01") + "011,private\n"
    message = r"cohort.csv is not readable as csv .*2 rows do not have the 9 columns .* the first is row 2 with 10"
    with pytest.raises(SourceError, match=message) as error:
        ingest("tiny", source(tmp_path, text), contract(), store)
    assert not {"secret", "private"} & set(str(error.value).split())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not readable as csv"),
        (
            CSV.replace("A,24", "\udcff,24"),
            r"not readable as csv .*'utf-8' codec .* correct the file, .* or `source.encoding`",
        ),
        (CSV.replace("age", "enrolled", 1), r"declared but missing: age; .*more than once in the source: enrolled"),
    ],
    ids=["empty", "not UTF-8", "a name twice"],
)
def test_faulty_csv_is_named(tmp_path: Path, store: SnapshotStore, text: str, message: str) -> None:
    spec = source(tmp_path)
    Path(spec.path).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises((SourceError, ContractError), match=message):
        ingest("tiny", spec, contract(), store)


def test_csv_is_read_whatever_its_line_ends_quotes_and_byte_order_mark(tmp_path: Path, store: SnapshotStore) -> None:
    expected = ingest("tiny", source(tmp_path), contract(), store).sha256
    spec = source(tmp_path)
    quoted = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in CSV.splitlines())
    for text in (
        CSV.replace("\n", "\r\n"),
        "\ufeff" + CSV,
        quoted,
        CSV.replace(",A,", ',"A\nB, ""C""",'),
        CSV + "\n\n",
    ):
        Path(spec.path).write_bytes(text.encode())
        assert ingest("tiny", spec, contract(), store).sha256 == expected


def test_changed_content_under_a_pinned_digest_is_refused(tmp_path: Path, store: SnapshotStore) -> None:
    pinned = ingest("tiny", source(tmp_path), contract(), store).manifest.content_sha256
    assert ingest("tiny", source(tmp_path, content_sha256=pinned), contract(), store)
    with pytest.raises(SourceError, match=r"has digest .* the catalogue pins .* review the new data"):
        ingest("tiny", source(tmp_path, CSV.replace("61", "62"), content_sha256=pinned), contract(), store)


def test_missing_file_package_and_data_set_name_the_remedy(
    tmp_path: Path, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceError, match=r"does not exist; correct `source.path`"):
        ingest("tiny", source(tmp_path).model_copy(update={"path": "/nowhere.csv"}), contract(), store)
    spec = packaged("greenwood", "nothing", version="0.8.0")
    with pytest.raises(SourceError, match=r"has no data set 'nothing'; it has .*e1684"):
        ingest("tiny", spec, contract(), store)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(SourceError, match=r"package greenwood is not installed; run `pip install greenwood==0\.8\.0`"):
        ingest("tiny", spec, contract(), store)


def test_parquet_source_gives_the_same_table_as_csv(tmp_path: Path, store: SnapshotStore) -> None:
    first = ingest("tiny", source(tmp_path), contract(), store)
    frame = pd.read_csv(tmp_path / "cohort.csv", dtype={"patient": str, "treated": str})
    frame.to_parquet(tmp_path / "cohort.parquet")
    spec = source(tmp_path, kind="parquet", path=str(tmp_path / "cohort.parquet"))
    assert ingest("tiny", spec, contract(), store).sha256 == first.sha256
    (tmp_path / "cohort.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match="not readable as Parquet"):
        ingest("tiny", spec, contract(), store)


def test_data_cut_removes_later_subjects_and_censors_later_events(tmp_path: Path, store: SnapshotStore) -> None:
    snapshot = ingest("tiny", source(tmp_path), contract(), store, dt.date(2001, 4, 1))
    frame = snapshot.read()
    assert frame["subject_id"].tolist() == ["001", "007"]
    assert frame["time"].tolist() == [456.0, 31.0]
    assert frame["event"].tolist() == [0, 0]
    assert snapshot.manifest.data_cut == dt.date(2001, 4, 1)
    assert snapshot.manifest.row_flow[-1].model_dump() == {"step": "index date before 2001-04-01", "rows": 2}


def test_data_cut_after_all_follow_up_changes_nothing_but_the_manifest(tmp_path: Path, store: SnapshotStore) -> None:
    late = ingest("tiny", source(tmp_path), contract(), store, dt.date(2030, 1, 1))
    full = ingest("tiny", source(tmp_path), contract(), store)
    assert late.sha256 == full.sha256
    assert late.digest != full.digest


def test_data_cut_needs_calendar_time_and_somebody_before_it(tmp_path: Path, store: SnapshotStore) -> None:
    with pytest.raises(ContractError, match="tiny: no subject entered before the data cut 2000-01-01"):
        ingest("tiny", source(tmp_path), contract(), store, dt.date(2000, 1, 1))
    nominal = contract(
        index_date={"kind": "nominal", "date": "2000-01-01", "note": "n"},
        columns=[{**c, "role": "ignored", "reason": "r"} if c["name"] == "enrolled" else c for c in COLUMNS],
    )
    with pytest.raises(ContractError, match="index date is nominal"):
        ingest("tiny", source(tmp_path), nominal, store, dt.date(2001, 1, 1))


def test_years_and_eras_give_index_dates(tmp_path: Path, store: SnapshotStore) -> None:
    text = CSV.replace("2001-03-01", "2001").replace("2001-05-01", "2001").replace("2000-01-01", "2000")
    columns = changed_column("enrolled", dtype="integer")
    rule = {"kind": "calendar", "column": "enrolled", "note": "n"}
    yearly = contract(columns=columns, index_date={**rule, "day_of_year": "07-01"})
    dates = ingest("tiny", source(tmp_path, text), yearly, store).read()["index_date"]
    assert dates.dt.strftime("%Y-%m-%d").tolist() == ["2000-07-01", "2001-07-01", "2001-07-01"]
    eras = contract(columns=columns, index_date={**rule, "eras": {2000: "1999-02-03"}})
    with pytest.raises(ContractError, match=r"column 'enrolled' holds no valid date .* \(2 of 3 rows\)"):
        ingest("tiny", source(tmp_path, text), eras, store)


def test_days_since_a_date_give_index_dates(tmp_path: Path, store: SnapshotStore) -> None:
    text = CSV.replace("2001-03-01", "366").replace("2001-05-01", "0").replace("2000-01-01", "2778")
    columns = changed_column("enrolled", dtype="integer")
    rule = {"kind": "calendar", "column": "enrolled", "days_since": "1960-01-01", "note": "n"}
    counted = contract(columns=columns, index_date=rule)
    dates = ingest("tiny", source(tmp_path, text), counted, store).read()["index_date"]
    assert dates.dt.strftime("%Y-%m-%d").tolist() == ["1967-08-10", "1961-01-01", "1960-01-01"]
    with pytest.raises(ContractError, match=r"column 'enrolled' holds no valid date .* \(1 of 3 rows\)"):
        ingest("tiny", source(tmp_path, text.replace("010,0,", "010,,")), counted, store)
    with pytest.raises(ValidationError, match="give one of `day_of_year`, `eras` and `days_since`"):
        contract(columns=columns, index_date={**rule, "day_of_year": "07-01"})


def test_a_time_rounded_down_to_zero_is_follow_up(tmp_path: Path, store: SnapshotStore) -> None:
    text = CSV.replace(",24,dead", ",0,dead")
    endpoint = contract().endpoint.model_dump() | {"time_for_zero": 0.5}
    times = ingest("tiny", source(tmp_path, text), contract(endpoint=endpoint), store).read()["time"]
    assert times.tolist() == [48 * 30.4375, 0.5 * 30.4375, 12 * 30.4375]


def test_damaged_snapshot_is_noticed_when_read_and_when_ingested_again(tmp_path: Path, store: SnapshotStore) -> None:
    snapshot = ingest("tiny", source(tmp_path), contract(), store)
    table = snapshot.path / "table.parquet"
    other = snapshot.read()
    other.loc[0, "age"] = 71.0
    other.to_parquet(table)
    assert snapshot.recompute() != {"table_sha256": snapshot.sha256, "rows": 3}
    for act in (snapshot.read, lambda: ingest("tiny", source(tmp_path), contract(), store)):
        with pytest.raises(SnapshotError, match=r"is damaged: its table has digest .* delete the directory"):
            act()
    table.write_bytes(table.read_bytes()[:100])
    with pytest.raises(SnapshotError, match="is damaged"):
        snapshot.read()
    (snapshot.path / "manifest.json").unlink()
    with pytest.raises(SnapshotError, match="is damaged"):
        Snapshot.open(snapshot.path)


def test_store_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "objects").write_text("a file where a directory belongs")
    with pytest.raises(SnapshotError, match=r"tiny: snapshot .* cannot be written .* nothing was stored"):
        ingest("tiny", source(tmp_path), contract(), SnapshotStore(tmp_path / "objects"))


@pytest.mark.parametrize(
    ("sabotage", "returncode"),
    [
        (
            "import os, signal, pandas as pd\n"
            "def stop(self, path, **k): path.write_bytes(b'PAR1 half'); os.kill(os.getpid(), signal.SIGKILL)\n"
            "pd.DataFrame.to_parquet = stop",
            -9,
        ),
        ("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))", 1),
    ],
    ids=["killed while writing", "disk full"],
)
def test_interrupted_ingest_leaves_no_snapshot_and_can_be_repeated(
    tmp_path: Path, store: SnapshotStore, sabotage: str, returncode: int
) -> None:
    spec = source(tmp_path)
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from clinical_assets.trials.contract import CohortContract
        from clinical_assets.trials.snapshot import SnapshotStore, ingest
        from clinical_assets.trials.sources.spec import SourceSpec
        spec, contract = SourceSpec.model_validate_json(sys.argv[1]), CohortContract.model_validate_json(sys.argv[2])
        exec(sys.argv[3])
        ingest("tiny", spec, contract, SnapshotStore(Path(sys.argv[4])))
        """
    )
    arguments = [spec.model_dump_json(), contract().model_dump_json(), sabotage, str(store.root)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == returncode, done.stderr
    if returncode == 1:
        assert "SnapshotError: tiny: snapshot" in done.stderr
        assert list(store.directory("tiny").iterdir()) == []
    assert [path for path in store.directory("tiny").iterdir() if not path.name.startswith(".")] == []
    snapshot = ingest("tiny", spec, contract(), store)
    assert store.find("tiny", snapshot.digest) == snapshot
    assert len(snapshot.read()) == 3
