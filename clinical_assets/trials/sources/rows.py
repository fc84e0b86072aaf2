"""The row rules of a source: which rows make up the cohort, with the count that each rule leaves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clinical_assets.trials.codes import code, codes
from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.numeric import numbers
from clinical_assets.trials.sources.spec import SourceSpec


def without_missing_text(frame: pd.DataFrame, missing: tuple[str, ...]) -> pd.DataFrame:
    """`frame` with None where a cell is one of the texts `missing`."""
    changed = {}
    for name in frame.columns:
        column = pd.Series(frame[name])
        if not pd.api.types.is_numeric_dtype(column) and (absent := column.isin(missing)).any():
            changed[name] = column.astype(object).mask(absent, None)
    return frame.assign(**changed)


def apply_row_rules(frame: pd.DataFrame, source: SourceSpec) -> tuple[pd.DataFrame, list[tuple[str, int]]]:
    """The rows that the `ROW_RULES` of the source keep, and the number left after each rule, in their order.

    Raises:
        ContractError: a column of `above` holds text, the source is empty, or no row is left.
    """
    if frame.empty:
        raise ContractError(f"{source.label} holds no rows")
    flow = [("rows in the source", len(frame))]

    def keep(rule: str, kept: np.ndarray) -> None:
        nonlocal frame
        frame = frame.loc[kept]
        flow.append((rule, len(frame)))
        if frame.empty:
            raise ContractError(f"{source.label}: no rows left after {rule!r} ({flow[-2][1]} before); correct `source`")

    for name, wanted in source.where.items():
        listed = [str(code(value)) for value in (wanted if isinstance(wanted, tuple) else (wanted,))]
        keep(f"{name} = {' or '.join(listed)}", codes(frame[name]).isin(listed).to_numpy(bool))
    for name in source.require:
        keep(f"{name} present", frame[name].notna().to_numpy(bool))
    for name in source.absent:
        keep(f"{name} absent", frame[name].isna().to_numpy(bool))
    for name, limit in source.above.items():
        values, unreadable = numbers(frame[name])
        if unreadable.any():
            problem = f"holds text in {int(unreadable.sum())} of {len(frame)} rows, `source.above` needs numbers"
            raise ContractError(f"{source.label}: column {name!r} {problem}; list the text in `source.missing`")
        keep(f"{name} above {limit:g}", values > limit)
    if source.first_per:
        subjects = pd.DataFrame({name: codes(frame[name]) for name in source.first_per})
        again = subjects.duplicated() & subjects.notna().all(axis="columns")
        keep(f"first row per {', '.join(source.first_per)}", ~again.to_numpy(bool))
    return frame.reset_index(drop=True), flow
