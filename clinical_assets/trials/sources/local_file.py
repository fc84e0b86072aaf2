"""Files of the user on this machine."""

from __future__ import annotations

from pathlib import Path

from clinical_assets.trials.errors import SourceError


def existing_file(path: str) -> Path:
    """
    Raises:
        SourceError: there is no such file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise SourceError(f"file {file} does not exist; correct `source.path` or put the file there")
    return file


def file_state(path: str) -> list[str]:
    """Path, size and modification time.

    Raises:
        SourceError: there is no such file.
    """
    file = existing_file(path)
    try:
        status = file.stat()
    except OSError as error:
        raise SourceError(f"file {file} cannot be seen ({error.strerror}); correct `source.path`") from error
    return [path, str(status.st_size), str(status.st_mtime_ns)]
