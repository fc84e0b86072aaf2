"""What one procedure is asked to do in one fold, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.catalog import CancerType
from clinical_assets.modeling.outcomes import Outcomes


@dataclass(frozen=True)
class Task:
    """Learn from `train` and its `outcomes`; predict `test`. Nothing about the test subjects' outcomes is here.

    `times` (k,) are the days at which survival is asked, None for a binary endpoint.
    """

    cancer: CancerType
    train: pd.DataFrame
    outcomes: Outcomes
    test: pd.DataFrame
    times: np.ndarray | None
    seed: int

    @property
    def horizon(self) -> float | None:
        return self.cancer.contract.endpoint.horizon_days


@dataclass(frozen=True)
class Forecast:
    """`risk` (n,) at the horizon or of the label; `survival` (n, k) at the task's times; what was chosen on the way."""

    risk: np.ndarray
    survival: np.ndarray | None = None
    chosen: dict[str, Any] = field(default_factory=dict)


Procedure = Callable[[Task], Forecast]
