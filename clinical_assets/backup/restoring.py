"""Restoring: everything is fetched and checked aside first; then databases and folders are exchanged under a mark.

Killed before the mark, nothing has changed. Killed under it, the platform refuses to start on the half-restored state
until the same command has run again, which then begins anew.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from clinical_assets.backup import rows
from clinical_assets.backup.making import Progress
from clinical_assets.backup.manifest import BackupError, Folder, Manifest
from clinical_assets.backup.parts import Part, parts
from clinical_assets.backup.postgresql import restore as restore_dump
from clinical_assets.backup.private_keys import FILE, opened, put_back
from clinical_assets.foundation import schema
from clinical_assets.foundation.database import engine_for
from clinical_assets.foundation.files import fsync_directory, write_atomic, write_new
from clinical_assets.foundation.home import RESTORE_MARK, Home


@dataclass(frozen=True)
class Restored:
    """`replaced`: where the former state was put, None when there was none. `other_keys`: private keys left alone."""

    manifest: Manifest
    replaced: Path | None
    other_keys: tuple[str, ...]


def restore(
    home: Home,
    url: str,
    source: str,
    objects: str = "",
    force: bool = False,
    passphrase: str | None = None,
    progress: Progress = lambda *_: None,
) -> Restored:
    """Put a backup back, into the kind of database that `url` names, whichever it was made from.

    Private keys that are there stay. Former folders are put aside in `replaced/` of the state directory.

    Args:
        force: also over a state that holds something.
        passphrase: of the private keys in the backup; without it they stay in the backup.

    Raises:
        BackupError: the backup is damaged, incomplete or of a newer version, or the state holds something.
    """
    folder = Folder(source)
    manifest = folder.manifest()
    if not schema.knows(manifest.schema_revision):
        raise BackupError(
            f"{source} was made by a newer version of the platform ({manifest.version}, schema "
            f"{manifest.schema_revision}); restore it with that version"
        )
    _check_registry(manifest)
    home.root.mkdir(parents=True, exist_ok=True)
    engine = engine_for(url)
    mark = home.root / RESTORE_MARK
    if not force and not mark.exists():
        _refuse_to_overwrite(home, engine)
    staged = mark.parent / "staged"
    shutil.rmtree(staged, ignore_errors=True)
    try:
        for path, stored in manifest.files.items():
            part = path.split("/", 1)[0]
            folder.fetch(path, stored, _inside(staged, path), lambda size, part=part: progress(part, size))
        private = opened((staged / "private" / FILE).read_bytes(), passphrase) if passphrase else {}
        ready = _readable(manifest, engine, staged)
    except BaseException:
        shutil.rmtree(mark.parent if not mark.exists() else staged, ignore_errors=True)
        raise
    write_atomic(mark, f"{source}\n".encode())
    replaced = home.root / "replaced" / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    _database(engine, manifest, ready, replaced)
    _registry(staged / "mlflow-database", replaced)
    for part in parts(home, objects or str(home.objects)):
        _folder(part, staged / part.name, replaced)
    for path in sorted((staged / "small").glob("*")):
        _exchange(path, home.root / path.name, replaced)
    other = _keys(home.keys, staged / "keys", private)
    fsync_directory(home.root)
    mark.unlink()
    shutil.rmtree(mark.parent, ignore_errors=True)
    return Restored(manifest, replaced if replaced.exists() else None, tuple(other))


def _refuse_to_overwrite(home: Home, engine: Engine) -> None:
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    held = [name for name in ("objects", "mlflow", "feast") if any((home.root / name).glob("**/*.*"))]
    if (file is None or Path(file).exists()) and not rows.empty(engine):
        held.insert(0, f"the database {engine.url.render_as_string(hide_password=True)}")
    if held:
        raise BackupError(
            f"{home.root} is not empty: {', '.join(held)} hold something; restore into an empty state directory and "
            "database, or say --force to put what is there aside (a database on a server is overwritten)"
        )


def _inside(folder: Path, path: str) -> Path:
    target = (folder / path).resolve()
    if not target.is_relative_to(folder.resolve()):
        raise BackupError(f"the manifest names {path}, outside the backup; this is not a backup of the platform")
    return target


def _readable(manifest: Manifest, engine: Engine, staged: Path) -> Path:
    """What the database is restored from: a file for SQLite out of SQLite, else a folder of rows."""
    database = staged / "database"
    if manifest.database == engine.dialect.name == "sqlite":
        return database / "ledger.db"
    if manifest.database == "sqlite":
        whole = engine_for(f"sqlite:///{database / 'ledger.db'}")
        target = staged / "rows"
        target.mkdir()
        schema.upgrade(whole)
        rows.export(whole, target)
        whole.dispose()
        return target
    return database


def _database(engine: Engine, manifest: Manifest, ready: Path, replaced: Path) -> None:
    revision = manifest.schema_revision if manifest.database == "postgresql" else schema.HEAD
    engine.dispose()
    if engine.dialect.name == "sqlite":
        target = Path(str(engine.url.database))
        for name in (f"{target}-wal", f"{target}-shm"):  # of the former database; beside another one they damage it
            _exchange(None, Path(name), replaced)
        if ready.is_file():
            _exchange(ready, target, replaced)
            return
        _exchange(None, target, replaced)
    rows.replace_all(engine, ready, revision)


def _check_registry(manifest: Manifest) -> None:
    kinds = {"mlflow-database/mlflow.dump": "postgresql", "mlflow-database/mlflow.db": "sqlite"}
    for path in kinds.keys() & manifest.files.keys():
        if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith(kinds[path]):
            raise BackupError(
                f"the backup holds MLflow's {kinds[path]} database; name one in MLFLOW_TRACKING_URI and restore again"
            )


def _registry(staged: Path, replaced: Path) -> None:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if (staged / "mlflow.dump").exists():
        restore_dump(uri, staged / "mlflow.dump")
    elif (staged / "mlflow.db").exists():
        _exchange(staged / "mlflow.db", Path(str(make_url(uri).database)), replaced)


def _folder(part: Part, staged: Path, replaced: Path) -> None:
    if part.path is not None:
        _exchange(staged if staged.exists() else None, part.path, replaced)
        return
    target = Folder(part.folder)
    for path in sorted(path for path in staged.rglob("*") if path.is_file()):
        with path.open("rb") as source:
            target.write(path.relative_to(staged).as_posix(), source, lambda _: None)


def _exchange(staged: Path | None, target: Path, replaced: Path) -> None:
    """Put what is at `target` aside and `staged` in its place; by renaming where both lie on one file system."""
    if target.exists():
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        else:
            replaced.mkdir(parents=True, exist_ok=True)
            shutil.move(target, replaced / target.name)
    if staged is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(staged, target)


def _keys(keys: Path, staged: Path, private: dict[str, bytes]) -> list[str]:
    keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    for public in sorted(staged.glob("*.pub")):
        if write_new(keys / public.name, public.read_bytes()):
            moment = public.stat().st_mtime_ns
            os.utime(keys / public.name, ns=(moment, moment))
    return put_back(private, keys)
