"""Where a canonical table deviates from its contract, by the contract's own pandera schema. Holds counts, no values."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clinical_assets.trials.contract import CohortContract

_SPOKEN = {
    "not_nullable": "never missing",
    "field_uniqueness": "unique",
    "column_in_dataframe": "present",
    "column_in_schema": "declared in the contract",
    "column_ordered": "in the order of the contract",
}


def deviations(frame: pd.DataFrame, contract: CohortContract) -> dict[str, int]:
    """`column must be rule` -> number of rows that break the rule (1 where the column as a whole does)."""
    import pandera.errors

    from clinical_assets.trials.schema import pandera_schema

    try:
        pandera_schema(contract).validate(frame.reset_index(drop=True), lazy=True)
    except pandera.errors.SchemaErrors as found:
        counts: dict[str, int] = {}
        for case in found.failure_cases.itertuples():
            text = f"{_column(case)} must be {_SPOKEN.get(str(case.check), str(case.check))}"
            counts[text] = counts.get(text, 0) + 1
        return counts
    return {}


def _column(case: Any) -> str:
    """Pandera files a missing, extra or displaced column under the table, its name as the failing value."""
    return str(case.failure_case if case.schema_context == "DataFrameSchema" else case.column)
