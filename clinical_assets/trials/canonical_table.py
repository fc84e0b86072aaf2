"""From the rows of a source to the canonical table: one row per subject, typed by the contract, in canonical units."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from clinical_assets.trials.codes import code
from clinical_assets.trials.contract import CohortContract, Column
from clinical_assets.trials.errors import ContractError
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
    table: dict[str, pd.Series | np.ndarray] = {
        "subject_id": _subjects(reader, contract),
        "index_date": _index_dates(reader, contract),
    }
    for column in contract.attributes:
        table[column.name] = reader.text(column) if column.dtype == "category" else reader.numbers(column)
    if contract.endpoint.kind == "survival":
        table["time"] = reader.complete(contract.with_role("time")) * contract.endpoint.days_per_unit
        table["event"] = reader.outcome_codes(contract.with_role("event"))
    else:
        table["label"] = reader.outcome_codes(contract.with_role("label"))
    return pd.DataFrame(table).sort_values("subject_id", kind="stable", ignore_index=True)


class _ColumnReader:
    """Typed columns of one raw table; every complaint names the file, the column and the number of rows."""

    def __init__(self, raw: RawTable) -> None:
        self._raw = raw
        self.rows = len(raw.frame)

    def numbers(self, column: Column) -> np.ndarray:
        values = self._decoded(column)
        if pd.api.types.is_numeric_dtype(values):
            return values.to_numpy(dtype=np.float64, na_value=np.nan)
        spellings = _TRUTH if column.dtype == "boolean" else {}
        numbers = np.array([_number(value, spellings) for value in values.tolist()], dtype=np.float64)
        bad = np.isnan(numbers) & values.notna().to_numpy()
        if bad.any():
            examples = "a `recode` for its codes" if column.dtype == "boolean" else "a category, or clean the source"
            raise self.error(column, f"holds text where a {column.dtype} is declared; declare {examples}", bad)
        return numbers

    def complete(self, column: Column) -> np.ndarray:
        numbers = self.numbers(column)
        if (empty := np.isnan(numbers)).any():
            raise self.error(column, "is empty; an outcome must be known, remove these rows from the source", empty)
        return numbers

    def outcome_codes(self, column: Column) -> np.ndarray:
        numbers = self.complete(column)
        bad = (numbers != np.round(numbers)) | (np.abs(numbers) > 127)
        if bad.any():
            raise self.error(column, "holds values that are no codes; declare them in `recode`", bad)
        return numbers.astype(np.int8)

    def text(self, column: Column) -> pd.Series:
        return _codes(self._decoded(column))

    def codes(self, column: Column) -> pd.Series:
        return _codes(self._source(column))

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
        codes = _codes(values)
        unlisted = (codes.notna() & ~codes.isin(list(column.recode))).to_numpy(bool)
        if unlisted.any():
            listed = ", ".join(column.recode)
            raise self.error(column, f"holds codes outside {listed}; extend `recode`", unlisted)
        return pd.Series([None if key is None else column.recode[key] for key in codes.tolist()], dtype=object)

    def error(self, column: Column, problem: str, rows: np.ndarray) -> ContractError:
        where = f"{self._raw.file.name}: column {column.source_name!r}"
        return ContractError(f"{where} {problem} ({int(rows.sum())} of {self.rows} rows)")


def _codes(values: pd.Series) -> pd.Series:
    return pd.Series([code(value) for value in values.tolist()], dtype=object)


def _number(value: object, spellings: dict[str, float]) -> float:
    """A finite number, else NaN. Python's own parser: the same digits give the same double everywhere."""
    try:
        number = spellings.get(value.strip().lower(), value) if isinstance(value, str) else value
        parsed = float(number)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan
    return parsed if math.isfinite(parsed) else math.nan


def _subjects(reader: _ColumnReader, contract: CohortContract) -> pd.Series:
    if contract.subject_from == "row_number":
        width = max(4, len(str(reader.rows)))
        return pd.Series([f"row-{number:0{width}d}" for number in range(1, reader.rows + 1)], dtype=object)
    return reader.identifiers(contract.with_role("subject"))


def _index_dates(reader: _ColumnReader, contract: CohortContract) -> pd.Series:
    rule = contract.index_date
    if rule.kind == "nominal":
        return pd.Series([pd.Timestamp(rule.date)] * reader.rows, dtype="datetime64[us]")
    column = contract.with_role("index_date")
    codes = reader.codes(column)
    if rule.eras is not None:
        starts = {era: date.isoformat() for era, date in rule.eras.items()}
        codes = pd.Series([starts.get(era) for era in codes.tolist()], dtype=object)
    elif rule.day_of_year is not None:
        codes = codes + f"-{rule.day_of_year}"
    return reader.dates(column, codes)
