"""Making a backup while everything runs. The database is read first: what it refers to is stored before it is named."""

from __future__ import annotations

import io
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from clinical_assets.backup import rows
from clinical_assets.backup.manifest import MANIFEST, BackupError, Folder, Manifest, Stored
from clinical_assets.backup.parts import SMALL, copy_sqlite, is_sqlite, kept_files, parts
from clinical_assets.backup.postgresql import dump
from clinical_assets.backup.private_keys import FILE, sealed
from clinical_assets.foundation import schema
from clinical_assets.foundation.files import fsync_directory
from clinical_assets.foundation.home import Home

Progress = Callable[[str, int], None]
"""Told the part and how many bytes of it were just written."""


def back_up(
    home: Home,
    engine: Engine,
    target: str,
    at_utc: str,
    objects: str = "",
    passphrase: str | None = None,
    progress: Progress = lambda *_: None,
) -> Manifest:
    """Write everything that the platform keeps to the new folder `target`.

    A local folder gets its name when it is complete; elsewhere the manifest is written last. Killed in between, neither
    leaves anything that restores.

    Args:
        target: folder or fsspec URL; must not exist, or be empty.
        objects: path or URL of the object store; default the one in the state directory.
        passphrase: include the private keys, encrypted with it.

    Raises:
        BackupError: nothing that looks like a backup was left.
        SchemaError: the database belongs to another version of the platform.
    """
    schema.make_current(engine)
    folder = Folder(target)
    if folder.exists():
        raise BackupError(f"{target} exists and is not empty; name a new folder for each backup")
    if not folder.local:
        return _Writer(folder, home, engine, progress).write(at_utc, objects, passphrase)
    final = Path(folder.root)
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(4)}.unfinished")
    aside.mkdir(mode=0o700)
    try:
        manifest = _Writer(Folder(str(aside)), home, engine, progress).write(at_utc, objects, passphrase)
        os.sync()
        aside.rename(final)
        fsync_directory(final.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


class _Writer:
    def __init__(self, folder: Folder, home: Home, engine: Engine, progress: Progress) -> None:
        self.folder, self.home, self.engine, self.progress = folder, home, engine, progress
        self.files: dict[str, Stored] = {}
        self.left_out: dict[str, str] = {}

    def write(self, at_utc: str, objects: str, passphrase: str | None) -> Manifest:
        with TemporaryDirectory(prefix="clinical-backup-") as scratch:
            self._database(Path(scratch))
            for part in parts(self.home, objects or str(self.home.objects)):
                if part.path is None:
                    self._objects(part.name, part.folder)
                elif part.path.is_dir():
                    self._tree(part.name, part.path, kept_files(part.path), Path(scratch))
            self._registry(Path(scratch))
        self._tree("small", self.home.root, (Path(name) for name in SMALL if (self.home.root / name).exists()))
        self._keys(passphrase)
        manifest = Manifest(
            created_utc=at_utc,
            version=version("clinical-assets"),
            schema_revision=schema.HEAD,
            database=self.engine.dialect.name,
            home=str(self.home.root),
            parts={part.name: part.folder for part in parts(self.home, objects or str(self.home.objects))},
            left_out=self.left_out,
            files=self.files,
        )
        self.folder.write(MANIFEST, io.BytesIO(manifest.model_dump_json(indent=1).encode()), lambda _: None)
        return manifest

    def _database(self, scratch: Path) -> None:
        if self.engine.dialect.name == "sqlite":
            copy = scratch / "ledger.db"
            copy_sqlite(Path(str(self.engine.url.database)), copy)
            self._file("database", "ledger.db", copy)
            return
        folder = scratch / "rows"
        folder.mkdir()
        rows.export(self.engine, folder)
        self._tree("database", folder, (Path(path.name) for path in sorted(folder.iterdir())))

    def _registry(self, scratch: Path) -> None:
        """MLflow's own database, where it has a place of its own; its files in the state directory are another part."""
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if uri.startswith("postgresql"):
            dumped = scratch / "mlflow.dump"
            dump(uri, dumped)
            self._file("mlflow-database", "mlflow.dump", dumped)
        elif uri.startswith("sqlite:///"):
            copy = scratch / "mlflow.db"
            copy_sqlite(Path(str(make_url(uri).database)), copy)
            self._file("mlflow-database", "mlflow.db", copy)
        elif uri:
            self.left_out["mlflow"] = f"{uri} is a server: back it up where it runs"

    def _keys(self, passphrase: str | None) -> None:
        self._tree("keys", self.home.keys, (path.relative_to(self.home.keys) for path in self.home.keys.glob("*.pub")))
        if passphrase is None:
            self.left_out["private keys"] = "not asked for (--private-keys)"
            return
        content = sealed(self.home.keys, passphrase)
        self.files[f"private/{FILE}"] = self.folder.write(f"private/{FILE}", io.BytesIO(content), lambda _: None)
        if self.folder.local:
            os.chmod(f"{self.folder.root}/private/{FILE}", 0o600)

    def _tree(self, part: str, folder: Path, names: Iterator[Path], scratch: Path | None = None) -> None:
        for name in names:
            path = folder / name
            try:
                if scratch is not None and is_sqlite(path):
                    copy = scratch / "copy.db"
                    copy.unlink(missing_ok=True)
                    copy_sqlite(path, copy)
                    self._file(part, name.as_posix(), copy)
                else:
                    self._file(part, name.as_posix(), path)
            except FileNotFoundError:
                continue  # it went away meanwhile, as logs and working files do

    def _file(self, part: str, name: str, path: Path) -> None:
        with path.open("rb") as source:
            modified = os.fstat(source.fileno()).st_mtime_ns
            stored = self.folder.write(f"{part}/{name}", source, lambda size: self.progress(part, size))
        self.files[f"{part}/{name}"] = stored.model_copy(update={"modified_ns": modified})

    def _objects(self, part: str, url: str) -> None:
        held = Folder(url)
        for path in sorted(held.files.find(held.root)):
            name = f"{part}/{path.removeprefix(held.root).lstrip('/')}"
            with held.files.open(path, "rb") as source:
                self.files[name] = self.folder.write(name, source, lambda size: self.progress(part, size))
