"""A cheap answer to "may this source have changed?": nothing is read but version numbers and file status."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.spec import SourceSpec


def source_state(spec: SourceSpec) -> list[str]:
    """Package and version, or path, size and modification time.

    Raises:
        SourceError: the package is not installed, or the file does not exist.
    """
    if spec.kind == "package":
        try:
            return [str(spec.package), importlib.metadata.version(str(spec.package))]
        except importlib.metadata.PackageNotFoundError as error:
            raise SourceError(f"package {spec.package} is not installed; run `pip install {spec.package}`") from error
    try:
        status = Path(spec.path).stat()
    except OSError as error:
        raise SourceError(f"file {spec.path} cannot be seen ({error.strerror}); correct `source.path`") from error
    return [spec.path, str(status.st_size), str(status.st_mtime_ns)]
