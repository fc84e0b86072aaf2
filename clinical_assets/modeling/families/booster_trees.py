"""The trees of XGBoost models as arrays, read from its own JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clinical_assets.modeling.trees import Trees, TreeScore, side_by_side

_BASE_MARGIN = {
    "survival:cox": np.log,
    "survival:aft": np.log,
    "binary:logistic": lambda base: np.log(base / (1.0 - base)),
}


def trees_of(booster: Any) -> TreeScore:
    """The margin of a booster with numeric splits and one output.

    Raises:
        KeyError: an objective whose base margin is not known here.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    base = float(learner["learner_model_param"]["base_score"].strip("[]"))
    grown = [_tree(tree) for tree in learner["gradient_booster"]["model"]["trees"]]
    margin = np.array([float(_BASE_MARGIN[learner["objective"]["name"]](base))])
    return TreeScore(side_by_side([trees for trees, _ in grown]), np.concatenate([leaf for _, leaf in grown]), margin)


def average(scores: Sequence[tuple[TreeScore, float]]) -> TreeScore:
    """The mean of several scores, each times its sign, as one set of trees."""
    return TreeScore(
        side_by_side([score.trees for score, _ in scores]),
        np.concatenate([score.leaf * (sign / len(scores)) for score, sign in scores]),
        np.mean([sign * score.intercept for score, sign in scores], axis=0),
    )


def _tree(tree: Mapping[str, Any]) -> tuple[Trees, np.ndarray]:
    """Nodes of one tree and the value (nodes, 1) of each."""
    left, right = (np.asarray(tree[side], dtype=np.int32) for side in ("left_children", "right_children"))
    value = np.asarray(tree["split_conditions"], dtype=np.float32)
    own, is_leaf = np.arange(len(left), dtype=np.int32), left < 0
    trees = Trees(
        roots=own[:1],
        feature=np.where(is_leaf, 0, np.asarray(tree["split_indices"])),
        threshold=np.where(is_leaf, np.float32(0.0), value),
        left=np.where(is_leaf, own, left),
        right=np.where(is_leaf, own, right),
    )
    return trees, np.where(is_leaf, value.astype(np.float64), 0.0)[:, None]
