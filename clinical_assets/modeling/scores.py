"""The learnt part of each family as plain arrays, evaluated by numpy alone, in training and in serving alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np


class Score(Protocol):
    """A log hazard ratio (survival) or log odds (binary) per encoded row."""

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n,)."""
        ...


@dataclass(frozen=True)
class LinearScore:
    """`intercept + encoded @ coefficients`."""

    coefficients: np.ndarray
    intercept: float = 0.0

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        return (encoded * self.coefficients).sum(axis=1) + self.intercept

    def tensors(self) -> dict[str, np.ndarray]:
        return {"coefficients": self.coefficients, "intercept": np.array([self.intercept])}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> LinearScore:
        return cls(tensors["coefficients"], float(tensors["intercept"][0]))


@dataclass(frozen=True)
class NetworkScore:
    """Mean over `k` networks: one tanh layer (k, d, h), an output layer (k, h) and a linear skip (k, d)."""

    hidden: np.ndarray
    bias: np.ndarray
    output: np.ndarray
    skip: np.ndarray
    intercept: np.ndarray

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        members, width, units = self.hidden.shape
        flat = self.hidden.transpose(1, 0, 2).reshape(width, members * units)
        active = np.tanh(encoded @ flat + self.bias.reshape(-1))
        linear = encoded @ self.skip.mean(axis=0)
        return active @ (self.output.reshape(-1) / members) + linear + self.intercept.mean()

    def tensors(self) -> dict[str, np.ndarray]:
        return {
            "hidden": self.hidden,
            "bias": self.bias,
            "output": self.output,
            "skip": self.skip,
            "intercept": self.intercept,
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray]) -> NetworkScore:
        return cls(*(tensors[name] for name in ("hidden", "bias", "output", "skip", "intercept")))


@dataclass(frozen=True)
class TreeScore:
    """Boosted trees read from XGBoost's own JSON; `booster` keeps that text, the arrays are derived from it."""

    booster: bytes
    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    depth: int
    intercept: float

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        narrow = encoded.astype(np.float32)
        rows = np.arange(len(narrow))[:, None]
        node = np.broadcast_to(self.roots, (len(narrow), len(self.roots)))
        for _ in range(self.depth):
            goes_left = narrow[rows, self.feature[node]] < self.threshold[node]
            node = np.where(goes_left, self.left[node], self.right[node])
        return self.leaf[node].sum(axis=1) + self.intercept

    @classmethod
    def from_booster(cls, booster: bytes) -> TreeScore:
        """Parse a JSON booster with numeric splits and one output.

        Raises:
            ValueError: the text is no such booster, or its nodes do not form trees.
        """
        try:
            learner = json.loads(booster)["learner"]
            trees = learner["gradient_booster"]["model"]["trees"]
            base = float(learner["learner_model_param"]["base_score"].strip("[]"))
            objective = learner["objective"]["name"]
            parts = [_tree_arrays(tree) for tree in trees]
        except (KeyError, TypeError, IndexError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"not an XGBoost JSON model ({type(error).__name__}: {error})") from error
        if objective not in _BASE_MARGIN:
            raise ValueError(f"objective {objective!r} is not one of {', '.join(_BASE_MARGIN)}")
        sizes = np.array([len(part["left"]) for part in parts], dtype=np.int64)
        offsets = np.concatenate(([0], np.cumsum(sizes)[:-1])) if parts else np.zeros(0, dtype=np.int64)

        def joined(name: str, shift: bool = False) -> np.ndarray:
            pieces = [part[name] + (offset if shift else 0) for part, offset in zip(parts, offsets, strict=True)]
            return np.concatenate(pieces) if pieces else np.zeros(0)

        return cls(
            booster=booster,
            roots=offsets.astype(np.int64),
            feature=joined("feature"),
            threshold=joined("threshold"),
            left=joined("left", shift=True),
            right=joined("right", shift=True),
            leaf=joined("leaf"),
            depth=max((part["depth"] for part in parts), default=0),
            intercept=_BASE_MARGIN[objective](base),
        )


_BASE_MARGIN = {
    "survival:cox": lambda base: float(np.log(base)),
    "binary:logistic": lambda base: float(np.log(base / (1.0 - base))),
}


def _tree_arrays(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Node arrays of one tree; a leaf is its own child."""
    left = np.asarray(tree["left_children"], dtype=np.int64)
    right = np.asarray(tree["right_children"], dtype=np.int64)
    value = np.asarray(tree["split_conditions"], dtype=np.float32)
    feature = np.asarray(tree["split_indices"], dtype=np.int64)
    own = np.arange(len(left))
    is_leaf = left < 0
    inner = ~is_leaf
    lengths = {len(left), len(right), len(value), len(feature)}
    children = np.concatenate((left[inner], right[inner]))
    parents = np.concatenate((own[inner], own[inner]))
    if len(lengths) != 1 or len(left) == 0 or (children <= parents).any() or (children >= len(left)).any():
        raise ValueError("a tree's nodes do not form a tree")
    level = np.zeros(len(left), dtype=np.int64)
    for node in own[inner]:
        level[[left[node], right[node]]] = level[node] + 1
    return {
        "left": np.where(is_leaf, own, left),
        "right": np.where(is_leaf, own, right),
        "threshold": value,
        "feature": np.where(is_leaf, 0, feature),
        "leaf": np.where(is_leaf, value, 0.0).astype(np.float64),
        "depth": int(level.max()),
    }
