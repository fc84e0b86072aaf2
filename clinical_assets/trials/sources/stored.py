"""Where a file of the user is kept: on this machine, behind an fsspec URL, or in a DVC repository at a revision."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from clinical_assets.foundation.canonical import sha256_file
from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources import dvc, remote

if TYPE_CHECKING:
    from clinical_assets.trials.sources.spec import SourceSpec


@dataclass(frozen=True)
class StoredFile:
    """A file that can be read now; `name` is how messages call it, `version` what its store says about it."""

    path: Path
    version: str
    name: str

    @cached_property
    def sha256(self) -> str:
        return sha256_file(self.path)


@contextmanager
def stored_file(spec: SourceSpec, path: str) -> Iterator[StoredFile]:
    """The file `path` of a source; one kept elsewhere is copied to a private directory and removed at the end.

    Raises:
        SourceError: the file does not exist or cannot be fetched.
    """
    if not (spec.repository or "://" in path):
        yield StoredFile(_existing(path), "", name=path)
        return
    with tempfile.TemporaryDirectory(prefix="clinical-source-") as folder:
        if spec.repository:
            tracked = dvc.Tracked(spec.repository, spec.revision, path)
            yield StoredFile(*dvc.fetch(tracked, Path(folder)), name=str(tracked))
        else:
            yield StoredFile(*remote.fetch(path, Path(folder)), name=path)


def stored_state(spec: SourceSpec, path: str) -> list[str]:
    """What changes when the file changes, without reading it.

    Raises:
        SourceError: the file does not exist or cannot be seen.
    """
    if spec.repository:
        return dvc.state(dvc.Tracked(spec.repository, spec.revision, path))
    if "://" in path:
        return remote.state(path)
    status = _existing(path).stat()
    return [path, str(status.st_size), str(status.st_mtime_ns)]


def _existing(path: str) -> Path:
    file = Path(path).expanduser()
    if not file.is_file():
        raise SourceError(f"file {file} does not exist; correct `source.path` or put the file there")
    return file
