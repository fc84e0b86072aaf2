"""Backup, destruction, restore: what was there is there again, on both kinds of database and from one to the other."""

from __future__ import annotations

import io
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, select, text

from clinical_assets.audit.keys import PLATFORM, KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.records import RecordStore
from clinical_assets.backup import rows
from clinical_assets.backup.making import back_up
from clinical_assets.backup.manifest import MANIFEST, BackupError, Folder
from clinical_assets.backup.postgresql import dump
from clinical_assets.backup.postgresql import restore as restore_dump
from clinical_assets.backup.restoring import restore
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.foundation.home import RESTORE_MARK, Home, StateDirectoryError
from clinical_assets.rollout.entries import Arm, Prediction
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.serving.pseudonym import Pseudonymiser
from tests.audit.releases import NOW, issue

UTC = "2026-01-01T00:00:00.000+00:00"
PASSPHRASE = "correct horse battery"
ODD = "tab\there, line\nthere, back\\slash, \\N, déjà"

KILLED = """
import os, signal, sys
from pathlib import Path
from clinical_assets.backup import {module}
from clinical_assets.foundation.database import engine_for
from clinical_assets.foundation.home import Home
home, url, place = Home(Path(sys.argv[1])), sys.argv[2], sys.argv[3]
def end(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
{kill}
{act}
"""


class State:
    """A small state: chains with signatures, an object, a registry that is written to, keys."""

    def __init__(self, root: Path, url: str) -> None:
        self.home, self.url = Home(root).prepare(), url
        self.keys = KeyStore(self.home.keys)
        create_tables(self.engine)
        issue(RecordStore(self.engine, self.keys))
        AuditLog(self.engine, self.keys).append("j-doe", "note", "s", {"reason": ODD}, UTC)
        shown = [(f"r{n}", "a" * 64, "colon", None, f"{n:064x}", Arm.CHAMPION, 0.0, n / 997, NOW) for n in range(99)]
        Ledger(self.engine).record_predictions([Prediction(*fields) for fields in shown])
        for path, content in (("objects/models/a/f", "model"), ("feast/registry.db", "f"), ("mlflow/x.lock", "")):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(content)
        with sqlite3.connect(self.home.mlflow / "mlflow.db") as registry:
            registry.execute("CREATE TABLE runs (id INTEGER)")
        self.pseudonym = Pseudonymiser(self.home.keys)("colon", "4711")

    @property
    def engine(self) -> Engine:
        return engine_for(self.url)

    def back_up(self, target: Path | str, passphrase: str | None = None) -> None:
        back_up(self.home, self.engine, str(target), UTC, passphrase=passphrase)

    def destroy(self) -> None:
        self.engine.dispose()
        shutil.rmtree(self.home.root)
        if self.url.startswith("postgresql"):
            with self.engine.begin() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))

    def contents(self) -> dict[str, list[tuple[object, ...]]]:
        with self.engine.connect() as connection:
            return {
                table.name: [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
                for table in rows.tables()
            }

    def holds(self) -> None:
        log, records = AuditLog(self.engine, self.keys), RecordStore(self.engine, self.keys)
        assert (log.verify_chain().ok, records.verify_chain().ok) == (True, True)
        assert Ledger(self.engine).verify_chain(self.keys).ok
        assert ODD in [entry.payload.get("reason") for entry in log.entries()]


@pytest.fixture(autouse=True)
def no_other_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Dagster's home belongs to a backup, so it must not be that of whoever runs the tests."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home" / "dagster"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def state(tmp_path: Path, database_url: str) -> State:
    return State(tmp_path / "home", database_url.replace("ledger.db", "home/ledger.db"))


@pytest.fixture
def small(tmp_path: Path) -> State:
    return State(tmp_path / "home", f"sqlite:///{tmp_path / 'home' / 'ledger.db'}")


def test_after_destruction_and_restore_everything_is_there_and_goes_on(state: State, tmp_path: Path) -> None:
    before = state.contents()
    state.back_up(tmp_path / "backup", PASSPHRASE)
    state.destroy()
    done = restore(state.home, state.url, str(tmp_path / "backup"), passphrase=PASSPHRASE)
    assert (done.replaced, done.other_keys) == (None, ())
    assert state.contents() == before
    state.holds()
    assert (state.home.objects / "models/a/f").read_text() == "model"
    with sqlite3.connect(state.home.mlflow / "mlflow.db") as registry:
        assert registry.execute("SELECT * FROM runs").fetchall() == []
    assert not (state.home.mlflow / "x.lock").exists()
    assert Pseudonymiser(state.home.keys)("colon", "4711") == state.pseudonym
    AuditLog(state.engine, state.keys).append("j-doe", "note", "after", {"reason": "goes on"}, UTC)
    with state.engine.begin() as connection, pytest.raises(Exception, match="append-only"):
        connection.execute(text("DELETE FROM audit_log"))
    state.holds()


def test_without_being_asked_no_private_key_is_in_it_and_old_signatures_hold_with_a_new_key(
    small: State, tmp_path: Path
) -> None:
    secrets = [path.read_bytes() for path in small.home.keys.glob("*.key")]
    small.back_up(tmp_path / "backup")
    copied = b"".join(path.read_bytes() for path in (tmp_path / "backup").rglob("*") if path.is_file())
    assert secrets
    assert not any(secret in copied for secret in secrets)
    small.destroy()
    restore(small.home, small.url, str(tmp_path / "backup"))
    AuditLog(small.engine, small.keys).append("j-doe", "note", "after", {"reason": "new key"}, UTC)
    assert len(list(small.home.keys.glob(f"{PLATFORM}.*.pub"))) == 2
    small.holds()


def test_private_keys_are_encrypted_and_private_and_need_the_passphrase(small: State, tmp_path: Path) -> None:
    small.back_up(tmp_path / "backup", PASSPHRASE)
    sealed = tmp_path / "backup" / "private" / "private-keys.aes"
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600
    assert not any(path.read_bytes() in sealed.read_bytes() for path in small.home.keys.glob("*.key"))
    small.destroy()
    with pytest.raises(BackupError, match="wrong passphrase"):
        restore(small.home, small.url, str(tmp_path / "backup"), passphrase="wrong passphrase")
    restore(small.home, small.url, str(tmp_path / "backup"), passphrase=PASSPHRASE)
    assert {stat.S_IMODE(path.stat().st_mode) for path in small.home.keys.glob("*.key")} == {0o600}


def test_a_ledger_moves_from_a_file_to_a_server_and_back(small: State, tmp_path: Path, database_url: str) -> None:
    before = small.contents()
    small.back_up(tmp_path / "first")
    moved = tmp_path / "moved"
    restore(Home(moved), database_url, str(tmp_path / "first"))
    small.url = database_url
    assert small.contents() == before
    small.holds()
    small.back_up(tmp_path / "second")
    small.url = f"sqlite:///{tmp_path / 'back' / 'ledger.db'}"
    restore(Home(tmp_path / "back"), small.url, str(tmp_path / "second"))
    assert small.contents() == before
    small.holds()


def test_a_backup_under_writing_is_one_moment(state: State, tmp_path: Path) -> None:
    stop, log = threading.Event(), AuditLog(state.engine, state.keys)

    def write() -> None:
        while not stop.is_set():
            log.append("j-doe", "note", "s", {"reason": "meanwhile"}, UTC)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            state.back_up(tmp_path / f"backup-{number}")
    finally:
        stop.set()
        writer.join()
    written = len(log.entries())
    state.destroy()
    restore(state.home, state.url, str(tmp_path / "backup-1"))
    state.holds()
    assert len(log.entries()) <= written


def test_a_state_that_holds_something_is_not_overwritten_without_force(state: State, tmp_path: Path) -> None:
    state.back_up(tmp_path / "backup")
    before = state.contents()
    AuditLog(state.engine, state.keys).append("j-doe", "note", "later", {"reason": "later"}, UTC)
    with pytest.raises(BackupError, match=r"not empty: the database .* --force"):
        restore(state.home, state.url, str(tmp_path / "backup"))
    done = restore(state.home, state.url, str(tmp_path / "backup"), force=True)
    assert state.contents() == before
    assert done.replaced is not None
    assert (done.replaced / "objects/models/a/f").read_text() == "model"
    state.holds()


def test_a_changed_or_missing_file_stops_the_restore_before_anything_changed(small: State, tmp_path: Path) -> None:
    small.back_up(tmp_path / "backup")
    small.destroy()
    object_file = tmp_path / "backup/objects/models/a/f"
    object_file.write_text("m0del")
    with pytest.raises(BackupError, match=r"objects/models/a/f is not what was backed up"):
        restore(small.home, small.url, str(tmp_path / "backup"))
    object_file.unlink()
    with pytest.raises(BackupError, match=r"objects/models/a/f is missing"):
        restore(small.home, small.url, str(tmp_path / "backup"))
    assert list(small.home.root.rglob("*")) == []
    (tmp_path / "backup" / MANIFEST).unlink()
    with pytest.raises(BackupError, match="no complete backup"):
        restore(small.home, small.url, str(tmp_path / "backup"))


def test_a_backup_of_a_newer_version_is_refused(small: State, tmp_path: Path) -> None:
    small.back_up(tmp_path / "backup")
    manifest = tmp_path / "backup" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"schema_revision": "', '"schema_revision": "9'))
    with pytest.raises(BackupError, match="newer version of the platform"):
        restore(small.home, small.url, str(tmp_path / "backup"), force=True)


def _killed(state: State, place: Path, module: str, kill: str, act: str) -> None:
    script = KILLED.format(module=module, kill=kill, act=act)
    done = subprocess.run([sys.executable, "-c", script, str(state.home.root), state.url, str(place)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_killed_backup_leaves_nothing_that_restores(small: State, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    _killed(small, place, "making", "making._Writer._keys = end", "making.back_up(home, engine_for(url), place, 'now')")
    assert not place.exists()
    assert list(tmp_path.glob(".backup.*.unfinished"))
    small.back_up(place)


@pytest.mark.parametrize("moment", ["Folder.fetch", "_database", "_folder", "_keys"])
def test_a_killed_restore_has_changed_nothing_or_is_refused_until_repeated(
    small: State, tmp_path: Path, moment: str
) -> None:
    before = small.contents()
    small.back_up(tmp_path / "backup")
    small.destroy()
    act = "restoring.restore(home, url, place)"
    _killed(small, tmp_path / "backup", "restoring", f"restoring.{moment} = end", act)
    if moment == "Folder.fetch":
        assert not (small.home.root / RESTORE_MARK).exists()
        assert not (small.home.root / "ledger.db").exists()
    else:
        with pytest.raises(StateDirectoryError, match=r"clinical restore .*backup` again"):
            small.home.prepare()
    restore(small.home, small.url, str(tmp_path / "backup"))
    small.home.prepare()
    assert small.contents() == before
    small.holds()


def test_a_backup_goes_to_a_store_by_url(small: State, tmp_path: Path) -> None:
    """fsspec's in-memory file system stands for an object store: no directories, no renaming."""
    small.back_up("memory://backups/monday")
    small.destroy()
    assert Folder("memory://backups/monday").manifest().database == "sqlite"
    restore(small.home, small.url, "memory://backups/monday")
    small.holds()
    with pytest.raises(BackupError, match="exists and is not empty"):
        small.back_up("memory://backups/monday")


def test_every_table_is_in_a_backup(state: State) -> None:
    made = set(inspect(state.engine).get_table_names())
    assert made == {table.name for table in rows.tables()} | {"clinical_schema"}


def test_a_database_of_others_on_a_server_comes_back_whole(postgresql_server: str, tmp_path: Path) -> None:
    url = f"{postgresql_server}/postgres"
    with engine_for(url).begin() as connection:
        connection.execute(text("CREATE TABLE foreign_runs (id SERIAL PRIMARY KEY, name TEXT)"))
        connection.execute(text("INSERT INTO foreign_runs (name) VALUES ('first')"))
    dump(url, tmp_path / "mlflow.dump")
    with engine_for(url).begin() as connection:
        connection.execute(text("DELETE FROM foreign_runs"))
    engine_for(url).dispose()
    restore_dump(url, tmp_path / "mlflow.dump")
    with engine_for(url).begin() as connection:
        assert connection.execute(text("SELECT name FROM foreign_runs")).scalars().all() == ["first"]
        connection.execute(text("DROP TABLE foreign_runs"))
    with pytest.raises(BackupError, match="pg_dump failed"):
        dump(f"{postgresql_server}/absent", tmp_path / "no.dump")


def test_objects_in_a_store_by_url_are_backed_up_and_put_back(small: State, tmp_path: Path) -> None:
    store = Folder("memory://objects")
    store.write("models/a/f", io.BytesIO(b"model"), lambda _: None)
    back_up(small.home, small.engine, str(tmp_path / "backup"), UTC, objects="memory://objects")
    store.files.rm(store.root, recursive=True)
    small.destroy()
    restore(small.home, small.url, str(tmp_path / "backup"), objects="memory://objects")
    assert store.files.cat_file(f"{store.root}/models/a/f") == b"model"
