"""Files that a DVC repository tracks, at a revision: the data that a commit names, not what lies in a work tree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.redaction import redacted


class Tracked(NamedTuple):
    """A path inside a repository (a directory or a URL) at a tag, branch or commit."""

    repository: str
    revision: str
    path: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}:{self.path}"


def fetch(tracked: Tracked, folder: Path) -> tuple[Path, str]:
    """Copy the file from the cache or the remote of the repository into `folder`: the file, its commit and md5.

    Raises:
        SourceError: DVC is not installed; unknown repository, revision or path; data that no cache or remote holds.
    """
    target = folder / Path(tracked.path).name
    with _repository(tracked) as files:
        commit, md5 = _identity(files, tracked)
        files.get_file(tracked.path, str(target))
    return target, f"commit {commit}, md5 {md5}"


def state(tracked: Tracked) -> list[str]:
    """The md5 that the revision names; no data are read.

    Raises:
        SourceError: as `fetch`.
    """
    with _repository(tracked) as files:
        return [tracked.repository, tracked.path, _identity(files, tracked)[1]]


@contextmanager
def _repository(tracked: Tracked) -> Iterator[Any]:
    try:
        from dvc.api import DVCFileSystem
    except ImportError:
        raise SourceError(f"reading {tracked} needs DVC; run `pip install 'clinical-assets[dvc]'`") from None
    files = None
    try:
        files = DVCFileSystem(tracked.repository, rev=tracked.revision)
        yield files
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceError(
            f"{tracked} does not exist there, or neither cache nor remote holds it; correct `source.path`, "
            "or run `dvc push` where the data are"
        ) from None
    except Exception as error:  # Git, DVC and every kind of remote have their own errors
        raise SourceError(
            f"{tracked} cannot be read: {type(error).__name__}: {redacted(error)}; "
            "correct `source.repository`, `source.revision` or `source.path`"
        ) from None
    finally:
        if files is not None:
            files.close()


def _identity(files: Any, tracked: Tracked) -> tuple[str, str]:
    """Commit of the revision and md5 of the file."""
    found = files.info(tracked.path)
    if found["type"] == "directory":
        raise SourceError(f"{tracked} is a directory; give the path of one file in it")
    md5 = (found.get("dvc_info") or {}).get("md5")
    if md5 is None:
        raise SourceError(f"{tracked} is tracked by Git, not by DVC; run `dvc add`, or read it as a plain file")
    return files.repo.get_rev(), md5
