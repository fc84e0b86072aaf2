"""What a family has learnt about each subject, as plain arrays that numpy alone evaluates, in training and in serving.

A score gives one or several outputs per encoded row: a log hazard ratio, log odds, or one logit per interval of time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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


@dataclass(frozen=True)
class NetworkScore:
    """Mean over `k` networks: a tanh layer (k, columns, h) with bias (k, h), an output layer (k, h, outputs) and a
    linear skip (k, columns, outputs), with intercept (k, outputs)."""

    hidden: np.ndarray
    bias: np.ndarray
    output: np.ndarray
    skip: np.ndarray
    intercept: np.ndarray

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, outputs)."""
        members, width, units = self.hidden.shape
        flat = self.hidden.transpose(1, 0, 2).reshape(width, members * units)
        active = np.tanh(encoded @ flat + self.bias.reshape(-1))
        deep = active @ (self.output.reshape(members * units, -1) / members)
        return deep + encoded @ self.skip.mean(axis=0) + self.intercept.mean(axis=0)

    @property
    def outputs(self) -> int:
        return self.intercept.shape[-1]

    def check(self, width: int) -> None:
        """Raises ValueError unless the arrays fit together and `width` encoded columns."""
        if self.hidden.ndim != 3 or self.intercept.ndim != 2:
            raise ValueError(f"a network with hidden layer {self.hidden.shape} and intercept {self.intercept.shape}")
        k, _, h = self.hidden.shape
        expected = ((k, width, h), (k, h), (k, h, self.outputs), (k, width, self.outputs), (k, self.outputs))
        found = tuple(part.shape for part in (self.hidden, self.bias, self.output, self.skip, self.intercept))
        if found != expected or k == 0:
            raise ValueError(f"a network of shapes {found} for {width} columns")


Score = LinearScore | NetworkScore | TreeScore
