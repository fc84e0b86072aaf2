"""Who belongs to which group of a sensitive attribute; nobody is left out, a missing value is a group of its own."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.group_names import NOT_REPORTED, group_labels

__all__ = ["NOT_REPORTED", "sensitive_groups"]


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
