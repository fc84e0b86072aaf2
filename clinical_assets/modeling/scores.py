"""What a family has learnt about each subject, as plain arrays that numpy alone evaluates, in training and in serving.

A score gives one or several outputs per encoded row: a log hazard ratio, log odds, or one logit per interval of time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinical_assets.modeling.network_scores import NetworkScore
from clinical_assets.modeling.trees import TreeScore


@dataclass(frozen=True)
class LinearScore:
    """`coefficients` (columns, outputs), `intercept` (outputs,)."""

    coefficients: np.ndarray
    intercept: np.ndarray

    @classmethod
    def of(cls, coefficients: np.ndarray, intercept: float = 0.0) -> LinearScore:
        """One output from (columns,) coefficients."""
        return cls(coefficients[:, None], np.array([intercept]))

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, outputs)."""
        return encoded @ self.coefficients + self.intercept

    @property
    def outputs(self) -> int:
        return len(self.intercept)

    def check(self, width: int) -> None:
        """Raises ValueError unless the arrays fit together and `width` encoded columns."""
        if self.coefficients.shape != (width, self.outputs):
            raise ValueError(f"coefficients {self.coefficients.shape} for {width} columns and {self.outputs} outputs")


Score = LinearScore | NetworkScore | TreeScore
