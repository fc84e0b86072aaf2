"""The same cohort, whatever the file format and wherever it is kept, gives the same canonical table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pandas as pd
import pyreadstat
import pytest
import sqlalchemy

from clinical_assets.catalog import load_catalog
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.spec import SourceSpec

from .stores import DvcRepository

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # DVC's own

COLON = load_catalog()["colon"]
"""Moertel's trial, two rows per patient: real, with text, whole numbers and missing values."""

Place = Callable[[pd.DataFrame, Path, pytest.FixtureRequest], dict[str, Any]]


def csv(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    frame.convert_dtypes().to_csv(folder / "colon.csv", index=False)
    return {"kind": "csv", "path": str(folder / "colon.csv")}


def latin_csv_with_semicolons(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    frame.convert_dtypes().to_csv(folder / "colon.csv", index=False, sep=";", na_rep="n/a", encoding="latin-1")
    return {
        "kind": "csv",
        "path": str(folder / "colon.csv"),
        "separator": ";",
        "missing": ["n/a"],
        "encoding": "latin-1",
    }


def parquet(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    frame.to_parquet(folder / "colon.parquet")
    return {"kind": "parquet", "path": str(folder / "colon.parquet")}


def xpt(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    pyreadstat.write_xport(frame, str(folder / "colon.xpt"), file_format_version=5)
    return {"kind": "sas", "path": str(folder / "colon.xpt")}


def xpt_version_8(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    pyreadstat.write_xport(frame, str(folder / "colon.xpt"), file_format_version=8)
    return {"kind": "sas", "path": str(folder / "colon.xpt")}


def database(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    url = request.getfixturevalue("database_url")
    request.getfixturevalue("monkeypatch").setenv("TRIAL_DATABASE_URL", url)
    engine = sqlalchemy.create_engine(url)
    frame.sample(frac=1, random_state=0).to_sql("colon", engine, index=False)
    engine.dispose()
    return {"kind": "sql", "database": "TRIAL_DATABASE_URL", "order_by": ["id", "etype"]}


def table(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**database(frame, folder, request), "table": "colon"}


def query(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    return {**database(frame, folder, request), "query": "SELECT * FROM colon WHERE rx LIKE '%e%' OR rx = 'Obs'"}


def in_memory(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    return uploaded(csv(frame, folder, request), "memory://trials/colon.csv")


def object_store_parquet(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    bucket = request.getfixturevalue("s3").bucket
    return uploaded(parquet(frame, folder, request), f"s3://{bucket}/colon/cut 1/colon.parquet")


def object_store_xpt(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    bucket = request.getfixturevalue("s3").bucket
    return uploaded(xpt(frame, folder, request), f"s3://{bucket}/colon/colon.xpt")


def uploaded(source: dict[str, Any], url: str) -> dict[str, Any]:
    with fsspec.open(url, "wb") as target:
        target.write(Path(source["path"]).read_bytes())  # type: ignore[attr-defined]
    return {**source, "path": url}


def dvc(frame: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> dict[str, Any]:
    file = Path(csv(frame, folder, request)["path"])
    repository = DvcRepository.create(folder / "repository")
    repository.commit("data/colon.csv", file.read_bytes(), "cut-1")
    repository.commit("data/colon.csv", b"id\n1\n", "cut-2")
    return {"kind": "csv", "path": "data/colon.csv", "repository": str(repository.path), "revision": "cut-1"}


PLACES = [csv, latin_csv_with_semicolons, parquet, xpt, xpt_version_8, in_memory, dvc]


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return kind_reader("package").read(COLON.source).frame


def same_table(place: Place, published: pd.DataFrame, folder: Path, request: pytest.FixtureRequest) -> None:
    origin = {name: getattr(COLON.source, name) for name in ("where", "data_status", "licence", "citation")}
    declared = place(published, folder, request)
    store = SnapshotStore(folder / "objects")
    own = ingest("colon", SourceSpec.model_validate({**origin, **declared}), COLON.contract, store)
    packaged = ingest("colon", COLON.source, COLON.contract, store)
    assert own.sha256 == packaged.sha256
    assert own.manifest.row_flow == packaged.manifest.row_flow
    assert (own.manifest.file_sha256 == "") == (declared["kind"] == "sql")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_a_file_of_any_kind(
    place: Place, published: pd.DataFrame, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    same_table(place, published, tmp_path, request)


@pytest.mark.xdist_group("s3")
@pytest.mark.parametrize("place", [object_store_parquet, object_store_xpt], ids=lambda place: place.__name__)
def test_an_object_behind_s3(
    place: Place, published: pd.DataFrame, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    same_table(place, published, tmp_path, request)


@pytest.mark.parametrize("place", [table, query], ids=lambda place: place.__name__)
def test_a_database_whatever_the_order_of_its_rows(
    place: Place, published: pd.DataFrame, tmp_path: Path, database_url: str, request: pytest.FixtureRequest
) -> None:
    same_table(place, published, tmp_path, request)
