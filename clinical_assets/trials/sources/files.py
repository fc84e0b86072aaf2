"""Cohorts in files of the user: csv (read as text, so that the contract alone decides on types) and Parquet."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.spec import SourceSpec


def read_csv(spec: SourceSpec) -> tuple[pd.DataFrame, Path]:
    file = _existing(spec)
    try:
        frame = pd.read_csv(file, sep=spec.separator, dtype=str, keep_default_na=False, na_values=list(spec.missing))
    except (ValueError, OSError) as error:
        raise SourceError(f"file {file} is not readable as csv with separator {spec.separator!r}: {error}") from error
    return frame, file


def read_parquet(spec: SourceSpec) -> tuple[pd.DataFrame, Path]:
    file = _existing(spec)
    try:
        return pd.read_parquet(file), file
    except (ValueError, OSError) as error:
        raise SourceError(f"file {file} is not readable as Parquet: {error}") from error


def _existing(spec: SourceSpec) -> Path:
    file = Path(spec.path).expanduser()
    if not file.is_file():
        raise SourceError(f"file {file} does not exist; correct `source.path` or put the file there")
    return file
