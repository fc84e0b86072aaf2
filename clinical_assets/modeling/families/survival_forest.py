"""Random survival forest (Ishwaran et al. 2008) by scikit-survival, an opt-in package under the GPL.

Its trees are copied into plain arrays: a stored model needs neither the package nor its licence to be served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from clinical_assets.modeling.families import Job
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import ForestHazards, Predictor
from clinical_assets.modeling.trees import Trees, at_most, side_by_side

TREES = 200
LEAF = 15
TIMES = 100
"""Distinct times that a forest tells apart, at quantiles of the follow-up; scikit-survival's memory grows with them."""


def train(jobs: Sequence[Job]) -> list[Predictor]:
    """One forest per training set.

    Raises:
        ModuleNotFoundError: scikit-survival is not installed.
        ValueError: the endpoint is binary.
    """
    return [hazards_of(grow(job.encoded, job.outcomes, job.seed)) for job in jobs]


def grow(encoded: np.ndarray, outcomes: Outcomes, seed: int) -> Any:
    """Fit scikit-survival's forest."""
    if outcomes.kind == "binary":
        raise ValueError("family rsf learns survival endpoints only; leave it out of `families` for a binary one")
    try:
        from sksurv.ensemble import RandomSurvivalForest
        from sksurv.util import Surv
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "family rsf needs scikit-survival; run `pip install 'clinical-assets[gpl-data]'`"
        ) from error
    forest = RandomSurvivalForest(TREES, min_samples_leaf=LEAF, random_state=seed, n_jobs=1)
    return forest.fit(encoded, Surv.from_arrays(outcomes.flag, rounded(outcomes.times())))


def rounded(time: np.ndarray) -> np.ndarray:
    """(n,) times moved up to the next of at most `TIMES` quantiles."""
    if len(np.unique(time)) <= TIMES:
        return time
    grid = np.unique(np.quantile(time, np.linspace(0.0, 1.0, TIMES + 1)[1:], method="higher"))
    return grid[np.searchsorted(grid, time)]


def hazards_of(forest: Any) -> ForestHazards:
    """The forest's cumulative hazards, as its `predict_cumulative_hazard_function` gives them."""
    hazards = [estimator.tree_.value[:, :, 0] for estimator in forest.estimators_]
    rises = np.concatenate([np.diff(hazard, axis=1, prepend=0.0) for hazard in hazards])
    trees = side_by_side([_trees(estimator.tree_) for estimator in forest.estimators_])
    rises[trees.left != np.arange(trees.nodes)] = 0.0
    node, step = np.nonzero(rises > 0.0)
    return ForestHazards(
        trees=trees,
        starts=np.searchsorted(node, np.arange(trees.nodes + 1)).astype(np.int32),
        step=step.astype(np.int32),
        rise=rises[node, step],
        times=np.asarray(forest.unique_times_, dtype=np.float64),
    )


def _trees(tree: Any) -> Trees:
    own, is_leaf = np.arange(tree.node_count, dtype=np.int32), tree.children_left < 0
    return Trees(
        roots=own[:1],
        feature=np.where(is_leaf, 0, tree.feature),
        threshold=np.where(is_leaf, np.float32(0.0), at_most(tree.threshold)),
        left=np.where(is_leaf, own, tree.children_left),
        right=np.where(is_leaf, own, tree.children_right),
    )
