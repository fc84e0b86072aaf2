"""A csv file of the user, read as text, so that the contract alone decides on types."""

from __future__ import annotations

import pandas as pd

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.kinds import Reading
from clinical_assets.trials.sources.local_file import existing_file, file_state
from clinical_assets.trials.sources.spec import SourceSpec


def read(spec: SourceSpec) -> Reading:
    file = existing_file(spec.path)
    try:
        frame = pd.read_csv(file, sep=spec.separator, dtype=str, keep_default_na=False, index_col=False)
    except (ValueError, OSError) as error:
        raise SourceError(f"file {file} is not readable as csv with separator {spec.separator!r}: {error}") from error
    return Reading(frame, (file,))


def state(spec: SourceSpec) -> list[str]:
    return file_state(spec.path)
