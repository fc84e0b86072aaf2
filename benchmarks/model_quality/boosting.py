"""A modest, ordinary tuning of XGBoost: a small grid, cross-validation with early stopping."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost
from sklearn.model_selection import StratifiedKFold

GRID = tuple({"max_depth": depth, "min_child_weight": weight} for depth in (1, 2, 4) for weight in (1.0, 5.0))
_SHARED = {"eta": 0.1, "subsample": 0.8, "colsample_bytree": 0.8, "tree_method": "hist", "nthread": 1, "verbosity": 0}
_ROUNDS = 300
_PATIENCE = 25
_FOLDS = 5


def tuned_booster(
    rows: np.ndarray, label: np.ndarray, strata: np.ndarray, objective: dict[str, Any], seed: int
) -> tuple[xgboost.Booster, dict[str, Any]]:
    """Fit `rows` (n, p) with the setting and the number of rounds of the best cross-validated loss.

    Args:
        label: (n,) as the objective wants it.
        strata: (n,) by which the inner folds are balanced.
    """
    matrix = xgboost.DMatrix(rows, label=label, nthread=1)
    splitter = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    folds = list(splitter.split(rows, strata))
    losses, rounds = [], []
    for setting in GRID:
        curve = xgboost.cv(
            {**_SHARED, **objective, **setting, "seed": seed},
            matrix,
            _ROUNDS,
            folds=folds,
            early_stopping_rounds=_PATIENCE,
            as_pandas=False,
        )
        held_out = next(values for name, values in curve.items() if name.startswith("test") and name.endswith("mean"))
        losses.append(float(np.min(held_out)))
        rounds.append(int(np.argmin(held_out)) + 1)
    best = int(np.argmin(losses))
    parameters = {**_SHARED, **objective, **GRID[best], "seed": seed}
    return xgboost.train(parameters, matrix, rounds[best]), {**GRID[best], "rounds": rounds[best]}
