"""Which folders of the state a backup holds, and what in them is left out because it is made anew."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from clinical_assets.foundation.home import Home

_PASSING = ("*.lock", "*-wal", "*-shm", "*-journal", "*.sock", "*.pid", "*.log", "processes.json")
_PASSING_FOLDERS = {"logs", "tmp", "__pycache__"}
SMALL = ("clock.json", "demo.mark")
"""Files beside the folders."""


@dataclass(frozen=True)
class Part:
    """One folder: `folder` is a path, or a URL where the objects lie in an object store."""

    name: str
    folder: str

    @property
    def path(self) -> Path | None:
        return None if "://" in self.folder else Path(self.folder)


def parts(home: Home, objects: str) -> list[Part]:
    """In the order in which they are read: what refers comes before what it refers to, and objects are never changed,
    so that everything a copied part refers to is in the backup.
    """
    dagster = os.environ.get("DAGSTER_HOME") or str(home.dagster)
    return [
        Part("dagster", dagster),
        Part("dataplane", str(home.dataplane)),
        Part("objects", objects),
        Part("mlflow", str(home.mlflow)),
        Part("feast", str(home.feast)),
    ]


def kept_files(folder: Path) -> Iterator[Path]:
    """Files to back up, relative to `folder`: no locks, logs, sockets, or files that somebody is writing aside."""
    for directory, below, names in os.walk(folder):
        below[:] = sorted(name for name in below if name not in _PASSING_FOLDERS and not name.startswith("."))
        for name in sorted(names):
            path = Path(directory) / name
            passing = name.startswith(".") or any(PurePath(name).match(pattern) for pattern in _PASSING)
            if not passing and path.is_file() and not path.is_symlink():
                yield path.relative_to(folder)


def is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def copy_sqlite(source: Path, target: Path) -> None:
    """A consistent copy of a database that others may be writing: SQLite's online backup, in one read transaction."""
    reading, writing = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True), sqlite3.connect(target)
    try:
        reading.execute("PRAGMA busy_timeout=30000")
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode=DELETE")  # one file, no write-ahead log beside it
    finally:
        writing.close()
        reading.close()
