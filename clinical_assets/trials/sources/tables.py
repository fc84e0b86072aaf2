"""Tables in files: csv (read as text, so that the contract alone decides on types), Parquet, and SAS by ReadStat."""

from __future__ import annotations

from csv import reader as header_reader
from pathlib import PurePath
from typing import TYPE_CHECKING

import pandas as pd

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.kinds import Reading
from clinical_assets.trials.sources.stored import StoredFile, stored_file, stored_state

if TYPE_CHECKING:
    from clinical_assets.trials.sources.spec import SourceSpec

SUFFIXES = {".csv": "csv", ".parquet": "parquet", ".xpt": "sas", ".sas7bdat": "sas"}


def read(spec: SourceSpec) -> Reading:
    """
    Raises:
        SourceError: no such file, or a file that is not of the declared kind.
    """
    with stored_file(spec, spec.path) as file:
        return Reading(_PARSERS[spec.kind](file, spec), (file.sha256,), file.version)


def state(spec: SourceSpec) -> list[str]:
    return stored_state(spec, spec.path)


def read_table(file: StoredFile, spec: SourceSpec) -> pd.DataFrame:
    """A table whose kind the suffix of its name tells.

    Raises:
        SourceError: another suffix, or a file of another kind than its suffix says.
    """
    kind = SUFFIXES.get(PurePath(file.name).suffix.lower())
    if kind is None:
        raise SourceError(f"file {file.name}: the suffix must be one of {', '.join(SUFFIXES)}; rename the file")
    return _PARSERS[kind](file, spec)


def _csv(file: StoredFile, spec: SourceSpec) -> pd.DataFrame:
    """Every column as text. Messages name rows by their number: what is in them stays where it is."""
    import pyarrow as pa
    from pyarrow import csv

    encoding = spec.encoding or "utf-8-sig"
    unequal: list[csv.InvalidRow] = []
    try:
        with file.path.open(encoding=encoding, newline="") as lines:
            header = next(header_reader(lines, delimiter=spec.separator), [])
        table = csv.read_csv(
            file.path,
            read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK, encoding=spec.encoding or "utf8"),
            parse_options=csv.ParseOptions(
                delimiter=spec.separator,
                newlines_in_values=True,
                invalid_row_handler=lambda row: "skip" if unequal.append(row) is None else "error",
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.large_string()), strings_can_be_null=False
            ),
        )
        if unequal:
            first = unequal[0]
            raise ValueError(
                f"{len(unequal)} rows do not have the {first.expected_columns} columns of the header, the first "
                f"is row {first.number} with {first.actual_columns}"
            )
    except (ValueError, OSError) as error:
        raise SourceError(
            f"file {file.name} is not readable as csv with separator {spec.separator!r}: {error}; correct the file, "
            "`source.separator` or `source.encoding`"
        ) from error
    return table.to_pandas(types_mapper={pa.large_string(): pd.StringDtype("pyarrow")}.get)


def _parquet(file: StoredFile, spec: SourceSpec) -> pd.DataFrame:
    try:
        return pd.read_parquet(file.path)
    except (ValueError, OSError) as error:
        raise SourceError(f"file {file.name} is not readable as Parquet: {error}") from error


def _sas(file: StoredFile, spec: SourceSpec) -> pd.DataFrame:
    """Numbers as float64, text, dates and times as Python's own; missing (`.`, `.A`, ...) as NaN. The variables' labels
    are in `attrs["labels"]`.
    """
    import pyreadstat

    suffix = file.path.suffix.lower()
    readers = {".xpt": pyreadstat.read_xport, ".sas7bdat": pyreadstat.read_sas7bdat}
    if suffix not in readers:
        raise SourceError(f"file {file.name}: a SAS file ends in .xpt or .sas7bdat; rename it")
    try:
        frame, meta = readers[suffix](str(file.path), encoding=spec.encoding or None)
    except (pyreadstat.ReadstatError, pyreadstat.PyreadstatError, ValueError, OSError) as error:
        remedy = "write it again, or declare `source.encoding`, for instance WINDOWS-1252"
        raise SourceError(f"file {file.name} is not readable as SAS {suffix}: {error}; {remedy}") from error
    frame.attrs["labels"] = {name: label for name, label in meta.column_names_to_labels.items() if label}
    return frame


_BLOCK = 1 << 26
"""Bytes of a csv file read at once; no row may be longer."""
_PARSERS = {"csv": _csv, "parquet": _parquet, "sas": _sas}
