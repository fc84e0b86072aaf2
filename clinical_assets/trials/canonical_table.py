"""From the rows of a source to the canonical table: one row per subject, typed by the contract, in canonical units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from clinical_assets.trials.codes import codes, distinct, laid_out
from clinical_assets.trials.contract import CohortContract, Column
from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.numeric import numbers
from clinical_assets.trials.sources.read import RawTable

_TRUTH = {"1": 1.0, "0": 0.0, "true": 1.0, "false": 0.0}


def canonical_table(raw: RawTable, contract: CohortContract) -> pd.DataFrame:
    """Columns `subject_id`, `index_date`, features, other sensitive columns, then `time` (days), `event`, or `label`.

    Numbers and booleans are float64 with NaN for missing, categories text with None, `event` and `label` int8, the
    index date datetime64[us]. Rows are sorted by `subject_id`. Implausible values stay: the data quality gate judges
    them.

    Raises:
        ContractError: text in a numeric column, a code that `recode` does not list, a missing subject, outcome or date.
    """
    reader = _ColumnReader(raw)
    subjects = _subjects(reader, contract).to_numpy()
    order = pc.sort_indices(pa.array(subjects, type=pa.large_string())).to_numpy()  # stable, by code point
    table: dict[str, np.ndarray] = {
        "subject_id": subjects[order],
        "index_date": _index_dates(reader, contract).to_numpy()[order],
    }
    for column in contract.attributes:
        values = reader.text(column).to_numpy() if column.dtype == "category" else reader.numbers(column)
        table[column.name] = values[order]
    if contract.endpoint.kind == "survival":
        table["time"] = _follow_up(reader, contract)[order]
        table["event"] = reader.outcome_codes(contract.with_role("event"))[order]
    else:
        table["label"] = reader.outcome_codes(contract.with_role("label"))[order]
    return pd.DataFrame(table)


class _ColumnReader:
    """Typed columns of one raw table; every complaint names the file, the column and the number of rows."""

    def __init__(self, raw: RawTable) -> None:
        self._raw = raw
        self.rows = len(raw.frame)

    def numbers(self, column: Column) -> np.ndarray:
        found, unreadable = numbers(self._decoded(column), _TRUTH if column.dtype == "boolean" else None)
        if unreadable.any():
            examples = "a `recode` for its codes" if column.dtype == "boolean" else "a category, or clean the source"
            raise self.error(column, f"holds text where a {column.dtype} is declared; declare {examples}", unreadable)
        return found

    def complete(self, column: Column) -> np.ndarray:
        found = self.numbers(column)
        if (empty := np.isnan(found)).any():
            remedy = "an outcome must be known, remove these rows from the source or list it in `source.require`"
            raise self.error(column, f"is empty; {remedy}", empty)
        return found

    def outcome_codes(self, column: Column) -> np.ndarray:
        found = self.complete(column)
        bad = (found != np.round(found)) | (np.abs(found) > 127)
        if bad.any():
            raise self.error(column, "holds values that are no codes; declare them in `recode`", bad)
        return found.astype(np.int8)

    def text(self, column: Column) -> pd.Series:
        return codes(self._decoded(column))

    def codes(self, column: Column) -> pd.Series:
        return codes(self._source(column))

    def identifiers(self, column: Column) -> pd.Series:
        values = self.codes(column)
        if (empty := (values.isna() | (values == "")).to_numpy(bool)).any():
            raise self.error(column, "is empty; every row needs its subject", empty)
        return values

    def dates(self, column: Column, values: pd.Series) -> pd.Series:
        dates = pd.to_datetime(values, errors="coerce", format="ISO8601")
        if (bad := dates.isna().to_numpy(bool)).any():
            raise self.error(column, "holds no valid date (YYYY-MM-DD) for the index date", bad)
        return dates.astype("datetime64[us]")

    def _source(self, column: Column) -> pd.Series:
        return pd.Series(self._raw.frame[column.source_name])

    def _decoded(self, column: Column) -> pd.Series:
        values = self._source(column)
        if column.recode is None:
            return values
        found = codes(values)
        unlisted = (found.notna() & ~found.isin(list(column.recode))).to_numpy(bool)
        if unlisted.any():
            listed = ", ".join(column.recode)
            raise self.error(column, f"holds codes outside {listed}; extend `recode`", unlisted)
        return _translated(found, column.recode)

    def error(self, column: Column, problem: str, rows: np.ndarray) -> ContractError:
        where = f"{self._raw.label}: column {column.source_name!r}"
        return ContractError(f"{where} {problem} ({int(rows.sum())} of {self.rows} rows)")


def _translated(found: pd.Series, meaning: Mapping[str, object]) -> pd.Series:
    """The meaning of every code, None where there is none."""
    position, different = distinct(found)
    return laid_out([meaning.get(key) for key in different], position)


def _subjects(reader: _ColumnReader, contract: CohortContract) -> pd.Series:
    if contract.subject_from == "row_number":
        width = max(4, len(str(reader.rows)))
        return pd.Series([f"row-{number:0{width}d}" for number in range(1, reader.rows + 1)], dtype=object)
    return reader.identifiers(contract.with_role("subject"))


def _follow_up(reader: _ColumnReader, contract: CohortContract) -> np.ndarray:
    """(n,) in days."""
    endpoint = contract.endpoint
    time = reader.complete(contract.with_role("time"))
    if endpoint.time_for_zero is not None:
        time = np.where(time == 0, endpoint.time_for_zero, time)
    return time * endpoint.days_per_unit


def _index_dates(reader: _ColumnReader, contract: CohortContract) -> pd.Series:
    rule = contract.index_date
    if rule.kind == "nominal":
        return pd.Series([pd.Timestamp(rule.date)] * reader.rows, dtype="datetime64[us]")
    column = contract.with_role("index_date")
    found = reader.codes(column)
    if rule.eras is not None:
        starts = {era: date.isoformat() for era, date in rule.eras.items()}
        found = _translated(found, starts)
    elif rule.day_of_year is not None:
        found = found + f"-{rule.day_of_year}"
    elif rule.days_since is not None:
        found = pd.Series(pd.Timestamp(rule.days_since) + pd.to_timedelta(reader.numbers(column), unit="D"))
    return reader.dates(column, found)
