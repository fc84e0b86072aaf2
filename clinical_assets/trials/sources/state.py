"""A cheap answer to "may this source have changed?": nothing is read but version numbers and file status."""

from __future__ import annotations

from clinical_assets.trials.sources.kinds import kind_reader
from clinical_assets.trials.sources.spec import SourceSpec


def source_state(spec: SourceSpec) -> list[str]:
    """Package and version, or path, size and modification time, ... as the kind of source has it.

    Raises:
        SourceError: the package is not installed, the file does not exist, the server does not answer.
    """
    return kind_reader(spec.kind).state(spec)
