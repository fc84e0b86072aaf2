"""A trained ensemble of networks as plain arrays that numpy alone evaluates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROWS_AT_ONCE = 16_384


@dataclass(frozen=True)
class NetworkScore:
    """`k` networks: softsign units (k, columns, h) with bias (k, h), an output layer (k, h, outputs) and a linear skip
    (k, columns, 1) that adds the same to every output, with intercept (k, outputs)."""

    hidden: np.ndarray
    bias: np.ndarray
    output: np.ndarray
    skip: np.ndarray
    intercept: np.ndarray

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, outputs): the mean over the networks (Lakshminarayanan et al. 2017)."""
        members, _, units = self.hidden.shape
        output = self.output.reshape(members * units, -1) / members
        linear, intercept = self.skip.mean(axis=0), self.intercept.mean(axis=0)
        score = np.empty((len(encoded), self.outputs))
        for start in range(0, len(encoded), ROWS_AT_ONCE):
            rows = encoded[start : start + ROWS_AT_ONCE]
            score[start : start + ROWS_AT_ONCE] = self._active(rows) @ output + rows @ linear + intercept
        return score

    def spread(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, outputs): standard deviation over the networks, how much they disagree about a row."""
        members, _, units = self.hidden.shape
        active = self._active(encoded).reshape(len(encoded), members, units)
        deep = np.einsum("nku,kuo->kno", active, self.output)
        return (deep + encoded @ self.skip + self.intercept[:, None, :]).std(axis=0, ddof=1)

    def _active(self, rows: np.ndarray) -> np.ndarray:
        """(n, k * h) outputs of all units."""
        flat = self.hidden.transpose(1, 0, 2).reshape(rows.shape[1], -1)
        before = rows @ flat + self.bias.reshape(-1)
        return before / (1.0 + np.abs(before))

    @property
    def outputs(self) -> int:
        return self.intercept.shape[-1]

    def check(self, width: int) -> None:
        """Raises ValueError unless the arrays fit together and `width` encoded columns."""
        if self.hidden.ndim != 3 or self.intercept.ndim != 2:
            raise ValueError(f"a network with hidden layer {self.hidden.shape} and intercept {self.intercept.shape}")
        k, _, h = self.hidden.shape
        expected = ((k, width, h), (k, h), (k, h, self.outputs), (k, width, 1), (k, self.outputs))
        found = tuple(part.shape for part in (self.hidden, self.bias, self.output, self.skip, self.intercept))
        if found != expected or k == 0:
            raise ValueError(f"a network of shapes {found} for {width} columns")
