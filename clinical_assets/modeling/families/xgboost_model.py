"""Trees grown in three ways by XGBoost and averaged: a forest, Cox boosting and accelerated-failure-time boosting.

The forest is one round of many trees on the gradient of the partial likelihood, the scores of the log-rank test: what a
random survival forest splits by (Ishwaran et al. 2008; Therneau et al. 1990), at a fraction of its cost. A binary
endpoint gets a forest and boosting on the binomial likelihood. Settings are few, coarse and fixed: what tuning would
choose on small cohorts is noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clinical_assets.modeling.families import Job
from clinical_assets.modeling.families.booster_trees import average, trees_of
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import Predictor
from clinical_assets.modeling.trees import TreeScore

FOREST = {
    "num_parallel_tree": 200,
    "max_depth": 4,
    "min_child_weight": 3.0,
    "subsample": 0.632,
    "lambda": 1.0,
    "eta": 1.0,
}
BOOSTING = {"max_depth": 3, "eta": 0.05, "min_child_weight": 3.0, "lambda": 3.0, "subsample": 0.8}
ACCELERATED = {"max_depth": 2, "eta": 0.1, "min_child_weight": 3.0, "lambda": 3.0, "subsample": 0.8}
ROUNDS = 60
FOREST_COLUMNS = 1 / 3
"""Share of the columns that a split of the forest may use, at least the square root of their number."""
BOOSTING_COLUMNS = 0.5
_SHARED = {"tree_method": "hist", "max_bin": 64, "nthread": 1, "verbosity": 0}
_FIRST_TIME = 1e-6


def train(jobs: Sequence[Job]) -> list[Predictor]:
    """Trees for each training set."""
    return [job.predictor(grow(job)) for job in jobs]


def grow(job: Job) -> TreeScore:
    """The average of the ways to grow trees, as a log hazard ratio or log odds."""
    return average([(trees_of(booster), sign) for booster, sign in boosters(job)])


def boosters(job: Job) -> list[tuple[Any, float]]:
    """The fitted boosters, with the sign that turns their margin into a log hazard ratio or log odds."""
    columns = job.encoded.shape[1]
    forest = {**FOREST, "colsample_bynode": max(FOREST_COLUMNS, columns**-0.5)}
    boosting = {**BOOSTING, "colsample_bynode": BOOSTING_COLUMNS}
    if job.outcomes.kind == "binary":
        objective = {"objective": "binary:logistic", "base_score": _share(job.outcomes)}
        matrix = _matrix(job.encoded, label=job.outcomes.flag)
        return [
            (_boost(matrix, {**objective, **forest}, 1, job.seed), 1.0),
            (_boost(matrix, {**objective, **boosting}, ROUNDS, job.seed), 1.0),
        ]
    time, event = np.maximum(job.outcomes.times(), _FIRST_TIME), job.outcomes.flag
    cox = {"objective": "survival:cox", "base_score": 1.0}
    ranked = _matrix(job.encoded, label=np.where(event, time, -time))
    accelerated = {
        **ACCELERATED,
        "colsample_bynode": BOOSTING_COLUMNS,
        "objective": "survival:aft",
        "aft_loss_distribution": "logistic",
        "aft_loss_distribution_scale": 1.0,
        "base_score": float(np.median(time)),
    }
    timed = _matrix(job.encoded, label_lower_bound=time, label_upper_bound=np.where(event, time, np.inf))
    return [
        (_boost(ranked, {**cox, **forest}, 1, job.seed), 1.0),
        (_boost(ranked, {**cox, **boosting}, ROUNDS, job.seed), 1.0),
        (_boost(timed, accelerated, ROUNDS, job.seed), -1.0),
    ]


def _share(outcomes: Outcomes) -> float:
    return float(np.clip(outcomes.flag.mean(), 0.01, 0.99))


def _matrix(encoded: np.ndarray, **labels: np.ndarray) -> Any:
    """XGBoost's own copy in float32; for a partial likelihood the label is the time, negative where censored."""
    import xgboost

    return xgboost.DMatrix(encoded.astype(np.float32), nthread=1, **labels)


def _boost(matrix: Any, parameters: dict[str, Any], rounds: int, seed: int) -> Any:
    """What `xgboost.train` does without watching anything; it would serialise the model once more at the end."""
    import xgboost

    booster = xgboost.Booster({**_SHARED, **parameters, "seed": seed}, [matrix])
    for round_ in range(rounds):
        booster.update(matrix, round_)
    return booster
