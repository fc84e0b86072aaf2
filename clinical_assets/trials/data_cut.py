"""What was known at an earlier date: later subjects are absent, later follow-up is censored at the cut."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.errors import ContractError


def apply_data_cut(frame: pd.DataFrame, contract: CohortContract, cut: dt.date) -> pd.DataFrame:
    """Subjects with an index date before `cut`; `time` ends at the cut, and an event after it did not happen yet.

    A subject whose index date is the cut itself has no follow-up and is left out.

    Raises:
        ContractError: the index date is nominal, or nobody was in the study before the cut.
    """
    if contract.index_date.kind == "nominal":
        raise ContractError(
            f"a data cut at {cut} needs calendar time, but the contract's index date is nominal; ingest without a cut"
        )
    moment = pd.Timestamp(cut)
    kept = frame.loc[frame["index_date"] < moment].reset_index(drop=True)
    if kept.empty:
        first = frame["index_date"].min().date()
        raise ContractError(f"no subject entered before the data cut {cut}; the first index date is {first}")
    if contract.endpoint.kind == "survival":
        follow_up = ((moment - kept["index_date"]) / pd.Timedelta(days=1)).to_numpy(np.float64)
        kept["event"] = np.where(kept["time"] > follow_up, 0, kept["event"]).astype(np.int8)
        kept["time"] = np.minimum(kept["time"], follow_up)
    return kept
