"""The row rules of a source: which rows make up the cohort, with the count that each rule leaves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clinical_assets.trials.codes import code, codes
from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.numeric import numbers
from clinical_assets.trials.sources.spec import SourceSpec


def without_missing_text(frame: pd.DataFrame, missing: tuple[str, ...]) -> pd.DataFrame:
    """`frame` with a missing value where a cell is one of the texts `missing`."""
    cleaned = frame.copy(deep=False)
    for name, column in frame.items():
        if not pd.api.types.is_numeric_dtype(column) and (absent := column.isin(missing)).any():
            cleaned[name] = column.mask(absent)
    return cleaned


def apply_row_rules(frame: pd.DataFrame, source: SourceSpec) -> tuple[pd.DataFrame, list[tuple[str, int]]]:
    """The rows that the `ROW_RULES` of the source keep, and the number left after each rule, in their order.

    Raises:
        ContractError: a column of `above` holds text, the source is empty, or no row is left.
    """
    if frame.empty:
        raise ContractError(f"{source.label} holds no rows")
    flow = [("rows in the source", len(frame))]
    rows = np.arange(len(frame))

    def cells(name: str) -> pd.Series:
        return frame[name].iloc[rows]

    def keep(rule: str, kept: pd.Series | np.ndarray) -> None:
        nonlocal rows
        rows = rows[np.asarray(kept, dtype=bool)]
        flow.append((rule, len(rows)))
        if not len(rows):
            raise ContractError(f"{source.label}: no rows left after {rule!r} ({flow[-2][1]} before); correct `source`")

    for name, wanted in source.where.items():
        listed = [str(code(value)) for value in (wanted if isinstance(wanted, tuple) else (wanted,))]
        keep(f"{name} = {' or '.join(listed)}", codes(cells(name)).isin(listed))
    for name in source.require:
        keep(f"{name} present", cells(name).notna())
    for name in source.absent:
        keep(f"{name} absent", cells(name).isna())
    for name, limit in source.above.items():
        values, unreadable = numbers(cells(name))
        if unreadable.any():
            problem = f"holds text in {int(unreadable.sum())} of {len(rows)} rows, `source.above` needs numbers"
            raise ContractError(f"{source.label}: column {name!r} {problem}; list the text in `source.missing`")
        keep(f"{name} above {limit:g}", values > limit)
    if source.first_per:
        subjects = pd.DataFrame({name: codes(cells(name)) for name in source.first_per})
        again = subjects.duplicated() & subjects.notna().all(axis="columns")
        keep(f"first row per {', '.join(source.first_per)}", ~again)
    kept = frame if len(rows) == len(frame) else frame.iloc[rows]
    return kept.reset_index(drop=True), flow
