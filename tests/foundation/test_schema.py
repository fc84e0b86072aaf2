"""The schema's revisions make what the code declares, from nothing and from a database made before them."""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from setuptools import find_packages
from sqlalchemy import Engine, text

from clinical_assets.audit.chain import ChainState
from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.foundation import schema
from clinical_assets.foundation.database import create_tables, engine_for, metadata
from clinical_assets.rollout.ledger import Ledger

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"
NEWER = "UPDATE clinical_schema SET version_num = '9999'"

STARTER = """
import sys, time
from clinical_assets.foundation.database import create_tables, engine_for
engine = engine_for(sys.argv[1])
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
create_tables(engine)
"""


@pytest.fixture
def engine(database_url: str) -> Engine:
    return engine_for(database_url)


def _load_old(engine: Engine) -> None:
    """A database as the platform made it before its schema had revisions, with rows in it and two tables not yet."""
    script = (DATA / f"before_versions.{engine.dialect.name}.sql").read_text()
    connection = engine.raw_connection()
    try:
        if engine.dialect.name == "sqlite":
            connection.executescript(script)
        else:
            connection.cursor().execute(script)
            connection.commit()
    finally:
        connection.close()


def _triggers(engine: Engine) -> set[tuple[str, ...]]:
    query = {
        "sqlite": "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT trigger_name, event_object_table, event_manipulation FROM information_schema.triggers "
        "UNION SELECT tgname, tgrelid::regclass::text, 'any' FROM pg_trigger WHERE NOT tgisinternal",
    }[engine.dialect.name]
    with engine.connect() as connection:
        return {tuple(row) for row in connection.execute(text(query))}


def _differences(engine: Engine) -> list[object]:
    """Between the database and the tables that any module of the platform declares."""
    for file in sorted((ROOT / "clinical_assets").rglob("*.py")):
        if "chained_table(" in (source := file.read_text()) or "database import metadata" in source:
            importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))
    with engine.connect() as connection:
        options = {"version_table": schema.VERSION_TABLE, "compare_type": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_a_fresh_database_has_exactly_the_declared_schema_and_says_its_revision(engine: Engine) -> None:
    assert schema.standing(engine) == schema.Standing(None, True)
    create_tables(engine)
    assert schema.standing(engine).current
    assert _differences(engine) == [], "add a revision to clinical_assets/foundation/migrations/versions, and set HEAD"
    chained = {name for name, table in metadata.tables.items() if "previous" in table.columns}
    assert {row[1] for row in _triggers(engine)} == chained


def test_a_database_made_before_revisions_is_adopted_without_loss(engine: Engine) -> None:
    _load_old(engine)
    ledger, log = Ledger(engine), AuditLog(engine, KeyStore(DATA))
    create_tables(engine)
    assert schema.standing(engine).current
    assert _differences(engine) == []
    assert ledger.verify_chain() == ChainState(True, 14)
    assert log.verify_chain().ok
    assert [entry.payload["reason"] for entry in log.entries()] == ["made before schema versions"] * 3
    assert ledger.rollout("colon") is not None
    with engine.begin() as connection, pytest.raises(Exception, match="append-only"):
        connection.execute(text("DELETE FROM predictions"))


def test_an_adopted_database_refuses_as_much_as_a_fresh_one(engine: Engine, tmp_path: Path) -> None:
    _load_old(engine)
    create_tables(engine)
    adopted = _triggers(engine)
    fresh = engine_for(f"sqlite:///{tmp_path / 'fresh.db'}")
    if engine.dialect.name == "postgresql":
        fresh = engine
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    create_tables(fresh)
    assert adopted == _triggers(fresh)


def test_of_processes_that_start_at_once_one_makes_the_schema_and_all_go_on(database_url: str) -> None:
    start = str(time.time() + 1.5)
    command = [sys.executable, "-c", STARTER, database_url, start]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
    assert ends == [("", 0)] * 3
    assert schema.standing(engine_for(database_url)).current


def test_an_older_schema_is_upgraded_by_itself(engine: Engine) -> None:
    with engine.begin() as connection:
        schema.make_within(connection, "0001")
    assert schema.standing(engine) == schema.Standing("0001", True)
    create_tables(engine)
    assert schema.standing(engine).current
    assert _differences(engine) == []


def test_a_newer_schema_is_refused_with_the_remedy(engine: Engine) -> None:
    create_tables(engine)
    with engine.begin() as connection:
        connection.execute(text(NEWER))
    for use in (create_tables, schema.upgrade):
        with pytest.raises(schema.SchemaError, match=r"schema 9999.*Install that version, or restore a backup"):
            use(engine)


def test_on_kubernetes_a_server_is_left_to_the_migration_job(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_DEPLOYMENT", "kubernetes")
    if engine.dialect.name == "postgresql":
        with pytest.raises(schema.SchemaError, match="run the migration Job"):
            create_tables(engine)
        assert schema.standing(engine).revision is None
        assert schema.upgrade(engine) is None
        assert schema.upgrade(engine) == schema.HEAD
    create_tables(engine)
    assert schema.standing(engine).current


def test_a_table_of_somebody_else_stops_the_upgrade_before_anything_changed(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE rollouts (id INTEGER)"))
    with pytest.raises(schema.SchemaError, match=r"table rollouts without the column .* database of its own"):
        create_tables(engine)
    with engine.connect() as connection:
        assert not engine.dialect.has_table(connection, "chain_heads")


def test_the_head_is_the_last_revision_and_the_wheel_carries_them_all() -> None:
    scripts = ScriptDirectory(str(ROOT / "clinical_assets/foundation/migrations"))
    assert scripts.get_heads() == [schema.HEAD]
    packages = find_packages(str(ROOT), include=["clinical_assets*"])
    assert "clinical_assets.foundation.migrations.versions" in packages


def test_the_commands_say_where_the_schema_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from clinical_assets.cli import app

    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path))
    monkeypatch.delenv("CLINICAL_DATABASE_URL", raising=False)

    def said(command: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["database", command])
        return result.exit_code, result.output.replace("\n", "")

    assert said("status")[0] == 1
    assert "upgraded from none" in said("upgrade")[1]
    assert "is current" in said("upgrade")[1]
    assert said("status")[0] == 0
    with engine_for(f"sqlite:///{tmp_path / 'ledger.db'}").begin() as connection:
        connection.execute(text(NEWER))
    code, output = said("status")
    assert code == 1
    assert "install that version" in output
