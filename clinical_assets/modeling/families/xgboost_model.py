"""Gradient-boosted trees on the Cox partial likelihood or the binomial likelihood, a few conservative settings.

The setting and the number of rounds are chosen by inner cross-validation, then all rows are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clinical_assets.modeling.families import Job
from clinical_assets.modeling.families.booster_trees import trees_of
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import Predictor

SETTINGS = (
    {"max_depth": 1, "eta": 0.2, "min_child_weight": 1.0, "lambda": 1.0},
    {"max_depth": 2, "eta": 0.15, "min_child_weight": 2.0, "lambda": 2.0},
    {"max_depth": 3, "eta": 0.1, "min_child_weight": 3.0, "lambda": 4.0},
)
ROUNDS = 120
_INNER_FOLDS = 4
_FIRST_TIME = 1e-6


def train(jobs: Sequence[Job]) -> list[Predictor]:
    """Trees for each training set."""
    return [job.predictor(trees_of(fit_booster(job.encoded, job.outcomes, job.seed))) for job in jobs]


def fit_booster(encoded: np.ndarray, outcomes: Outcomes, seed: int) -> Any:
    """Choose setting and rounds, then fit on all rows."""
    fold = stratified_folds(outcomes, _INNER_FOLDS, seed)
    curves = [_validation_curve(encoded, outcomes, fold, setting, seed) for setting in SETTINGS]
    best = int(np.argmin([curve.min() for curve in curves]))
    rounds = int(np.argmin(curves[best])) + 1
    return _boost(_matrix(encoded, outcomes), outcomes, SETTINGS[best], rounds, seed)


def _validation_curve(
    encoded: np.ndarray, outcomes: Outcomes, fold: np.ndarray, setting: dict[str, Any], seed: int
) -> np.ndarray:
    """(ROUNDS,) held-out negative log likelihood, averaged over the inner folds."""
    curves = []
    for k in range(_INNER_FOLDS):
        inside = fold != k
        held_out = _matrix(encoded[~inside], outcomes.take(~inside))
        log: dict[str, Any] = {}
        part = outcomes.take(inside)
        _boost(_matrix(encoded[inside], part), part, setting, ROUNDS, seed, [(held_out, "held_out")], log)
        curves.append(next(iter(log["held_out"].values())))
    return np.mean(curves, axis=0)


def _matrix(encoded: np.ndarray, outcomes: Outcomes) -> Any:
    """XGBoost's survival label is the time, negative where censored; a zero time has no sign, so it is moved up."""
    import xgboost

    label: np.ndarray = outcomes.flag.astype(np.float64)
    if outcomes.kind == "survival":
        time = np.maximum(outcomes.times(), _FIRST_TIME)
        label = np.where(outcomes.flag, time, -time)
    return xgboost.DMatrix(encoded.astype(np.float32), label=label, nthread=1)


def _boost(
    matrix: Any,
    outcomes: Outcomes,
    setting: dict[str, Any],
    rounds: int,
    seed: int,
    watched: list[tuple[Any, str]] | None = None,
    log: dict[str, Any] | None = None,
) -> Any:
    import xgboost

    survival = outcomes.kind == "survival"
    parameters = {
        **setting,
        "objective": "survival:cox" if survival else "binary:logistic",
        "eval_metric": "cox-nloglik" if survival else "logloss",
        "base_score": 1.0 if survival else float(np.clip(outcomes.flag.mean(), 0.01, 0.99)),
        "tree_method": "hist",
        "nthread": 1,
        "seed": seed,
        "verbosity": 0,
    }
    return xgboost.train(parameters, matrix, rounds, evals=watched or [], evals_result=log, verbose_eval=False)
