"""The trees of an XGBoost model as arrays, read from its own JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from clinical_assets.modeling.trees import TreeScore

_BASE_MARGIN = {
    "survival:cox": lambda base: float(np.log(base)),
    "binary:logistic": lambda base: float(np.log(base / (1.0 - base))),
}


def trees_of(booster: Any) -> TreeScore:
    """The margin of a booster with numeric splits and one output.

    Raises:
        KeyError: another objective than `survival:cox` and `binary:logistic`.
    """
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    base = float(learner["learner_model_param"]["base_score"].strip("[]"))
    trees = [_nodes(tree) for tree in learner["gradient_booster"]["model"]["trees"]]
    sizes = [len(tree["left"]) for tree in trees]
    offsets = np.cumsum([0, *sizes])[:-1]

    def joined(name: str, dtype: type, shift: bool = False) -> np.ndarray:
        pieces = [tree[name] + (start if shift else 0) for tree, start in zip(trees, offsets, strict=True)]
        return np.concatenate(pieces).astype(dtype) if pieces else np.zeros(0, dtype=dtype)

    return TreeScore(
        roots=offsets[: len(trees)].astype(np.int32),
        feature=joined("feature", np.int32),
        threshold=joined("threshold", np.float32),
        left=joined("left", np.int32, shift=True),
        right=joined("right", np.int32, shift=True),
        leaf=joined("leaf", np.float64)[:, None],
        intercept=np.array([_BASE_MARGIN[learner["objective"]["name"]](base)]),
    )


def _nodes(tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Node arrays of one tree; a leaf is its own child."""
    left, right = (np.asarray(tree[side], dtype=np.int64) for side in ("left_children", "right_children"))
    value = np.asarray(tree["split_conditions"], dtype=np.float32)
    own, is_leaf = np.arange(len(left)), left < 0
    return {
        "left": np.where(is_leaf, own, left),
        "right": np.where(is_leaf, own, right),
        "threshold": np.where(is_leaf, np.float32(0.0), value),
        "feature": np.where(is_leaf, 0, np.asarray(tree["split_indices"])),
        "leaf": np.where(is_leaf, value.astype(np.float64), 0.0),
    }
