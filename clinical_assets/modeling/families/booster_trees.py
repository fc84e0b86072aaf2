"""The trees of XGBoost models as arrays, read from its own JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from clinical_assets.modeling.trees import TreeScore

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
    trees = [_nodes(tree) for tree in learner["gradient_booster"]["model"]["trees"]]
    return _joined(trees, np.array([float(_BASE_MARGIN[learner["objective"]["name"]](base))]))


def average(scores: Sequence[tuple[TreeScore, float]]) -> TreeScore:
    """The mean of several scores, each times its sign, as one set of trees."""
    parts = [
        {
            "roots": score.roots,
            "left": score.left,
            "right": score.right,
            "threshold": score.threshold,
            "feature": score.feature,
            "leaf": score.leaf * (sign / len(scores)),
        }
        for score, sign in scores
    ]
    return _joined(parts, np.mean([sign * score.intercept for score, sign in scores], axis=0))


def _joined(parts: Sequence[Mapping[str, np.ndarray]], intercept: np.ndarray) -> TreeScore:
    """Trees side by side, their node numbers shifted."""
    starts = np.cumsum([0, *(len(part["left"]) for part in parts)])[:-1]
    shifted = {
        name: np.concatenate([part[name] + start for part, start in zip(parts, starts, strict=True)])
        for name in ("roots", "left", "right")
    }
    return TreeScore(
        roots=shifted["roots"].astype(np.int32),
        feature=np.concatenate([part["feature"] for part in parts]).astype(np.int32),
        threshold=np.concatenate([part["threshold"] for part in parts]),
        left=shifted["left"].astype(np.int32),
        right=shifted["right"].astype(np.int32),
        leaf=np.concatenate([part["leaf"] for part in parts]),
        intercept=intercept,
    )


def _nodes(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Node arrays of one tree; a leaf is its own child."""
    left, right = (np.asarray(tree[side], dtype=np.int64) for side in ("left_children", "right_children"))
    value = np.asarray(tree["split_conditions"], dtype=np.float32)
    own, is_leaf = np.arange(len(left)), left < 0
    return {
        "roots": np.zeros(1, dtype=np.int64),
        "left": np.where(is_leaf, own, left),
        "right": np.where(is_leaf, own, right),
        "threshold": np.where(is_leaf, np.float32(0.0), value),
        "feature": np.where(is_leaf, 0, np.asarray(tree["split_indices"])),
        "leaf": np.where(is_leaf, value.astype(np.float64), 0.0)[:, None],
    }
