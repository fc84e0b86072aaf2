"""What the feature store holds: the features of each subject, with the moment from which they were known."""

from __future__ import annotations

import numpy as np
import pandas as pd

from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.errors import ContractError


def feature_table(frame: pd.DataFrame, contract: CohortContract) -> pd.DataFrame:
    """Columns `subject_id`, `index_date`, `available_at`, then the features in contract order; one row per subject.

    `available_at` is the moment the last of the row's features became known: the index date plus the largest
    declared `available_at`, never later than the index date. The values of a feature declared to become known after
    the index date are withheld (missing), as a point-in-time join would. A feature without declaration counts as
    known at the index date; the leakage gate stops it.

    Raises:
        ContractError: `frame` lacks a column of the contract, or holds one with another type.
    """
    _check_structure(frame, contract)
    known = [column for column in contract.features if column.available_at is None or column.available_at <= 0]
    latest = max((column.available_at or 0 for column in known), default=0)
    table = frame.loc[:, ["subject_id", "index_date"]].copy()
    table["available_at"] = (table["index_date"] + pd.Timedelta(days=latest)).astype("datetime64[us]")
    for column in contract.features:
        withheld = np.nan if column.numeric else None
        table[column.name] = frame[column.name] if column in known else withheld
        table[column.name] = table[column.name].astype(np.float64 if column.numeric else object)
    return table


def _check_structure(frame: pd.DataFrame, contract: CohortContract) -> None:
    expected = {"subject_id": False, **{column.name: column.numeric for column in contract.features}}
    missing = [name for name in ("index_date", *expected) if name not in frame.columns]
    if missing:
        raise ContractError(f"table of {len(frame)} rows: columns {', '.join(missing)} are missing; ingest it again")
    wrong = [name for name, numeric in expected.items() if pd.api.types.is_float_dtype(frame[name]) != numeric]
    if wrong or not pd.api.types.is_datetime64_any_dtype(frame["index_date"]):
        raise ContractError(
            f"table of {len(frame)} rows: columns {', '.join(wrong) or 'index_date'} do not have the contract's type; "
            "ingest it again"
        )
