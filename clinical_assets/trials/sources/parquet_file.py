"""A Parquet file of the user."""

from __future__ import annotations

import pandas as pd

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.kinds import Reading
from clinical_assets.trials.sources.local_file import existing_file, file_state
from clinical_assets.trials.sources.spec import SourceSpec


def read(spec: SourceSpec) -> Reading:
    file = existing_file(spec.path)
    try:
        return Reading(pd.read_parquet(file), (file,))
    except (ValueError, OSError) as error:
        raise SourceError(f"file {file} is not readable as Parquet: {error}") from error


def state(spec: SourceSpec) -> list[str]:
    return file_state(spec.path)
