"""Databases: read-only, in a fixed order, with the URL in the environment and nowhere else."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.snapshot import SnapshotStore, ingest
from clinical_assets.trials.sources.kinds import Reading, kind_reader
from clinical_assets.trials.sources.read import read_source
from clinical_assets.trials.sources.spec import SourceSpec
from clinical_assets.trials.sources.state import source_state

from .cohorts import ORIGIN, contract, source

PASSWORD = "hunter2-of-the-trial"
ROWS = [
    ("007", dt.date(2001, 3, 1), 61, Decimal("12.50"), 1, True, "A", 24, "dead"),
    ("010", dt.date(2001, 5, 1), 48, None, 2, False, "A", 12, "alive"),
    ("001", dt.date(2000, 1, 1), 70, Decimal("3"), 2, True, "B", 48, "dead"),
]


def spec(**changes: Any) -> SourceSpec:
    declared = {"kind": "sql", "database": "TRIAL_DATABASE_URL", "order_by": ["patient"], **changes}
    return SourceSpec.model_validate({**({} if "query" in changes else {"table": "cohort"}), **declared, **ORIGIN})


def read(**changes: Any) -> Reading:
    return kind_reader("sql").read(spec(**changes))


@pytest.fixture
def engine(database_url: str, monkeypatch: pytest.MonkeyPatch) -> sa.Engine:
    """A writable engine on the cohort of `cohorts.CSV`, in the types that a database has for it."""
    monkeypatch.setenv("TRIAL_DATABASE_URL", database_url)
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    table = sa.Table(
        "cohort",
        sa.MetaData(),
        sa.Column("patient", sa.Text),
        sa.Column("enrolled", sa.Date),
        sa.Column("age", sa.Integer),
        sa.Column("Marker (ng/mL)", sa.Numeric(10, 2)),
        sa.Column("stage", sa.BigInteger),
        sa.Column("treated", sa.Boolean),
        sa.Column("site", sa.Text),
        sa.Column("months", sa.SmallInteger),
        sa.Column("status", sa.Text),
    )
    with engine.begin() as connection:
        table.create(connection)
        connection.execute(table.insert(), [dict(zip(table.columns.keys(), row, strict=True)) for row in ROWS])
    return engine


def change(engine: sa.Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(statement)


def test_dates_decimals_and_booleans_give_the_table_of_the_csv_file(engine: sa.Engine, tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path / "objects")
    own = ingest("tiny", spec(), contract(), store)
    assert own.sha256 == ingest("tiny", source(tmp_path), contract(), store).sha256
    assert (own.manifest.source, own.manifest.file_sha256) == ("TRIAL_DATABASE_URL", "")


def test_rows_come_in_the_order_of_their_key_whatever_the_database_does(engine: sa.Engine) -> None:
    first = read_source(spec(), contract())
    assert first.frame["patient"].tolist() == ["001", "007", "010"]
    change(engine, "CREATE TABLE other AS SELECT * FROM cohort ORDER BY months DESC")
    assert read_source(spec(table="other"), contract()).content_sha256 == first.content_sha256


def test_a_query_stands_as_it_is_written(engine: sa.Engine) -> None:
    text = "SELECT *, '100% :sure' AS note FROM cohort WHERE status LIKE 'd%' AND patient <> ':months' ;"
    frame = read(query=text).frame
    assert frame["patient"].tolist() == ["001", "007"]
    assert frame["note"].tolist() == ["100% :sure"] * 2


def test_a_table_in_a_schema(engine: sa.Engine) -> None:
    if engine.dialect.name == "sqlite":
        assert len(read(table="main.cohort").frame) == 3
        return
    change(engine, 'CREATE SCHEMA "Study 1"')
    change(engine, 'CREATE TABLE "Study 1".adsl AS SELECT * FROM cohort')
    assert len(read(table="Study 1.adsl").frame) == 3


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM cohort",
        "SELECT * FROM cohort; DELETE FROM cohort",
        "SELECT 1; COMMIT; DELETE FROM cohort; SELECT * FROM cohort",
        "WITH gone AS (DELETE FROM cohort RETURNING *) SELECT * FROM gone",
        "SELECT * INTO stolen FROM cohort",
        "SELECT *, set_config('transaction_read_only', 'off', true) FROM cohort",
        "PRAGMA user_version = 7",
    ],
)
def test_nothing_can_be_written(engine: sa.Engine, query: str) -> None:
    with pytest.raises(SourceError):
        read(query=query)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM cohort").scalar() == 3
    assert sa.inspect(engine).get_table_names() == ["cohort"]


def test_a_missing_sqlite_file_is_not_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIAL_DATABASE_URL", f"sqlite:///{tmp_path / 'none.db'}")
    with pytest.raises(SourceError, match=r"the SQLite file none\.db, which does not exist"):
        read()
    assert list(tmp_path.iterdir()) == []


def test_rows_that_the_key_does_not_tell_apart_are_refused_with_their_number(engine: sa.Engine) -> None:
    with pytest.raises(SourceError, match=r"2 of 3 rows are not told apart by `source\.order_by` \(site\)"):
        read(order_by=["site"])
    assert len(read(order_by=["site", "patient"]).frame) == 3
    change(engine, "UPDATE cohort SET patient = NULL WHERE patient = '007'")
    with pytest.raises(SourceError, match=r"1 of 3 rows are not told apart"):
        read()
    with pytest.raises(SourceError, match=r"`source\.order_by` names usubjid, which the rows do not have"):
        read(order_by=["usubjid"])


def test_state_follows_the_rows_or_the_version_that_the_database_tells(engine: sa.Engine) -> None:
    by_rows, by_version = spec(), spec(version_query="SELECT max(months) FROM cohort")
    rows, version = source_state(by_rows), source_state(by_version)
    assert source_state(by_rows) == rows
    assert version == ["TRIAL_DATABASE_URL", "48"]
    assert kind_reader("sql").read(by_version).version == "SELECT max(months) FROM cohort: 48"
    change(engine, "UPDATE cohort SET age = 62 WHERE patient = '007'")
    assert source_state(by_rows) != rows
    assert source_state(by_version) == version
    change(engine, "UPDATE cohort SET months = 49 WHERE patient = '001'")
    assert source_state(by_version) == ["TRIAL_DATABASE_URL", "49"]
    with pytest.raises(SourceError, match="must give one row with one value"):
        source_state(spec(version_query="SELECT patient FROM cohort"))


def test_postgresql_urls_work_as_everybody_writes_them(
    database_url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIAL_DATABASE_URL", database_url.replace("+psycopg2", ""))
    assert len(read().frame) == 3


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, r"environment variable TRIAL_DATABASE_URL is not set; set it"),
        ("", r"environment variable TRIAL_DATABASE_URL is not set; set it"),
        (f"no url {PASSWORD}", r"TRIAL_DATABASE_URL holds no database URL"),
        (f"mysql://user:{PASSWORD}@127.0.0.1/trial", r"of kind mysql; PostgreSQL and SQLite can be read"),
        (f"postgresql://user:{PASSWORD}@127.0.0.1:1/trial", r"cannot be read: .*Connection refused"),
        (f"postgresql://user:{PASSWORD}@127.0.0.1:port/trial", r"TRIAL_DATABASE_URL holds no database URL"),
        ("sqlite://", r"SQLite file :memory:, which does not exist"),
    ],
)
def test_what_is_wrong_with_the_environment_is_said_without_its_secret(
    monkeypatch: pytest.MonkeyPatch, url: str | None, message: str
) -> None:
    if url is None:
        monkeypatch.delenv("TRIAL_DATABASE_URL", raising=False)
    else:
        monkeypatch.setenv("TRIAL_DATABASE_URL", url)
    with pytest.raises(SourceError, match=message) as error:
        read()
    assert PASSWORD not in repr(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_a_refused_query_is_said_without_the_password(
    database_url: str, engine: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIAL_DATABASE_URL", database_url.replace("clinical@", f"clinical:{PASSWORD}@"))
    with pytest.raises(SourceError, match=r"cannot be read: .*secret_table") as error:
        read(query=f"SELECT * FROM secret_table WHERE note = '{PASSWORD}'")
    assert PASSWORD not in str(error.value)


def test_reading_leaves_no_connection_open(engine: sa.Engine) -> None:
    read()
    with pytest.raises(SourceError):
        read(query="SELECT nothing FROM cohort")
    if engine.dialect.name == "sqlite":
        assert engine.url.database not in [file.path for file in psutil.Process().open_files()]
        return
    with engine.connect() as connection:
        own_database = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert connection.exec_driver_sql(own_database).scalar() == 1
