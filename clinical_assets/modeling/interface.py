"""The one interface that gates, rollout and serving know of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from clinical_assets.modeling.outcomes import Outcomes


@runtime_checkable
class RiskModel(Protocol):
    """A model of the risk that the endpoint happens up to a horizon.

    `X` holds the contract's features by name, in any column order; missing values are the model's business.
    """

    name: str

    def fit(self, X: pd.DataFrame, y: Outcomes) -> Self: ...

    def risk(self, X: pd.DataFrame, horizon: float | None) -> np.ndarray:
        """(n,) probabilities in [0, 1]; `horizon` in days, None for a binary endpoint."""
        ...

    def survival(self, X: pd.DataFrame, times: np.ndarray) -> np.ndarray:
        """(n, len(times)) survival probabilities, non-increasing along `times`.

        Raises:
            TypeError: the endpoint is binary.
        """
        ...
