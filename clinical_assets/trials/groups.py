"""Who belongs to which group of a sensitive attribute; nobody is left out, a missing value is a group of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from clinical_assets.trials.contract import CohortContract, Column

NOT_REPORTED = "not reported"


def band_labels(edges: Sequence[float], whole: bool) -> tuple[str, ...]:
    """`[50, 65]` gives `<50`, `50-64`, `>=65` for whole numbers, `<50`, `50 to <65`, `>=65` otherwise."""
    between = [f"{low:g}-{high - 1:g}" if whole else f"{low:g} to <{high:g}" for low, high in pairwise(edges)]
    return (f"<{edges[0]:g}", *between, f">={edges[-1]:g}")


def group_labels(column: Column, contract: CohortContract) -> tuple[str, ...]:
    """All groups that the contract foresees for one sensitive attribute, in order, without `not reported`."""
    if column.dtype == "category":
        return column.categories or ()
    if column.dtype == "boolean":
        return ("no", "yes")
    return band_labels(contract.bands[column.name], whole=column.dtype == "integer")


def sensitive_groups(frame: pd.DataFrame, contract: CohortContract) -> pd.DataFrame:
    """One text column per sensitive attribute, with the rows and the index of `frame` (a canonical table).

    A category that the contract does not list keeps its own name, so that rows in equal rows audited.
    """
    groups = {}
    for column in contract.sensitive:
        values = frame[column.name]
        if column.dtype == "category":
            groups[column.name] = values.astype(object).where(values.notna(), NOT_REPORTED)
            continue
        edges = [1.0] if column.dtype == "boolean" else list(contract.bands[column.name])
        labels = np.array([*group_labels(column, contract), NOT_REPORTED], dtype=object)
        position = np.where(values.isna(), len(labels) - 1, np.digitize(values.to_numpy(np.float64), edges))
        groups[column.name] = pd.Series(labels[position], index=frame.index, dtype=object)
    return pd.DataFrame(groups, index=frame.index)
