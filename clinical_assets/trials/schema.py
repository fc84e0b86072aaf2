"""The contract as an executable schema (pandera): what a canonical table deviates in, column by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from clinical_assets.trials.contract import CohortContract, Column

if TYPE_CHECKING:
    import pandera.pandas as pandera


@dataclass(frozen=True)
class Deviation:
    """`rule` says what was expected; `rows` counts the rows that break it (0: the whole column). Holds no values."""

    column: str
    rule: str
    rows: int


def pandera_schema(contract: CohortContract) -> pandera.DataFrameSchema:
    """Strict, ordered schema of the canonical table: names, order, types, ranges, categories, one row per subject."""
    import pandera.pandas as pandera

    columns = {
        "subject_id": pandera.Column(str, unique=True, title="one row per subject"),
        "index_date": pandera.Column("datetime64[us]"),
        **{column.name: _value_column(column) for column in contract.attributes},
    }
    codes = pandera.Check.isin([0, 1], error="0 or 1")
    if contract.endpoint.kind == "survival":
        columns["time"] = pandera.Column("float64", pandera.Check.gt(0, error="greater than 0 days"))
        columns["event"] = pandera.Column("int8", codes)
    else:
        columns["label"] = pandera.Column("int8", codes)
    return pandera.DataFrameSchema(columns, strict=True, ordered=True, index=pandera.Index("int64"))


def deviations(frame: pd.DataFrame, contract: CohortContract) -> tuple[Deviation, ...]:
    """Every deviation of `frame` (a canonical table) from its contract; empty when there is none."""
    import pandera.errors

    try:
        pandera_schema(contract).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as found:
        cases = found.failure_cases
        by_rule = cases.assign(column=[_column_of(case) for case in cases.itertuples()]).groupby(
            ["column", "check"], sort=True
        )
        return tuple(
            Deviation(column, _rule(check), int(group["index"].notna().sum())) for (column, check), group in by_rule
        )
    return ()


def _value_column(column: Column) -> pandera.Column:
    import pandera.pandas as pandera

    nullable = column.max_missing > 0
    if column.dtype == "category":
        listed = list(column.categories or ())
        return pandera.Column(str, pandera.Check.isin(listed, error=f"one of {', '.join(listed)}"), nullable=nullable)
    if column.dtype == "boolean":
        return pandera.Column("float64", pandera.Check.isin([0.0, 1.0], error="0 or 1"), nullable=nullable)
    low, high = column.plausible_range or (-float("inf"), float("inf"))
    checks = [pandera.Check.in_range(low, high, error=f"within {low:g} to {high:g} {column.unit}")]
    if column.dtype == "integer":
        checks.append(pandera.Check(lambda values: values == values.round(), error="a whole number"))
    return pandera.Column("float64", checks, nullable=nullable)


def _column_of(case: object) -> str:
    """Pandera files a missing, extra or displaced column under the table, and its name as the failing value."""
    return str(case.failure_case if case.schema_context == "DataFrameSchema" else case.column)  # type: ignore[attr-defined]


def _rule(check: str) -> str:
    spoken = {
        "not_nullable": "never missing",
        "field_uniqueness": "one row per subject",
        "column_in_dataframe": "present",
        "column_in_schema": "not declared in the contract",
        "column_ordered": "in the order of the contract",
    }
    return spoken.get(check, check)
