"""Cholesky factor of a correlation matrix that is given by its pairs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def cholesky(names: Sequence[str], pairs: Mapping[tuple[str, str], float]) -> list[list[float]]:
    """Lower triangle L, row by row in the order of `names`, with L L' the matrix: 1 on the diagonal, 0 where no pair.

    Raises:
        ValueError: no such correlations exist, because the matrix is not positive definite.
    """
    both = {**pairs, **{(b, a): r for (a, b), r in pairs.items()}}
    rows: list[list[float]] = []
    for i, name in enumerate(names):
        row: list[float] = []
        for j in range(i):
            left = both.get((name, names[j]), 0.0) - math.fsum(row[k] * rows[j][k] for k in range(j))
            row.append(left / rows[j][j])
        rest = 1.0 - math.fsum(value * value for value in row)
        if rest <= 1e-9:
            raise ValueError(f"correlations: those of {name} contradict each other; bring them nearer to 0")
        rows.append([*row, math.sqrt(rest)])
    return rows
