"""The contract as an executable schema (pandera) for canonical tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clinical_assets.trials.contract import CohortContract, Column

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera


def pandera_schema(contract: CohortContract) -> pandera.DataFrameSchema:
    """Strict, ordered schema of the canonical table: names, order, types, ranges, categories, one row per subject."""
    import pandera.pandas as pandera

    columns = {
        "subject_id": pandera.Column(
            None, pandera.Check(_is_text, error="text"), unique=True, title="one row per subject"
        ),
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


def _is_text(values: pd.Series) -> bool:
    import pandas as pd

    return pd.api.types.infer_dtype(values, skipna=False) == "string"  # pandera's own check goes value by value


def _value_column(column: Column) -> pandera.Column:
    import pandera.pandas as pandera

    nullable = column.max_missing > 0
    if column.dtype == "category":
        listed = list(column.categories or ())
        return pandera.Column(None, pandera.Check.isin(listed, error=f"one of {', '.join(listed)}"), nullable=nullable)
    if column.dtype == "boolean":
        return pandera.Column("float64", pandera.Check.isin([0.0, 1.0], error="0 or 1"), nullable=nullable)
    low, high = column.plausible_range or (-float("inf"), float("inf"))
    checks = [pandera.Check.in_range(low, high, error=f"within {low:g} to {high:g} {column.unit}")]
    if column.dtype == "integer":
        checks.append(pandera.Check(lambda values: values == values.round(), error="a whole number"))
    return pandera.Column("float64", checks, nullable=nullable)
