"""Decision trees as flat arrays, evaluated for all rows and trees at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

_CELLS = 1 << 21
"""Rows times trees that are walked at once, so that a million rows need no more memory than a few thousand."""


@dataclass(frozen=True)
class TreeScore:
    """Sum over trees. Arrays have one entry per node: an inner node sends rows with float32 value < `threshold` of
    column `feature` to `left`, others to `right`; a leaf is its own child. `leaf` is (nodes, outputs), `roots` one
    node per tree, `intercept` (outputs,)."""

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    intercept: np.ndarray

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, outputs)."""
        score = np.empty((len(encoded), self.outputs))
        for part, node in self.walk(encoded):
            score[part] = self.leaf[node].sum(axis=1)
        return score + self.intercept

    def walk(self, encoded: np.ndarray):
        """Slices of rows with the leaf (rows, trees) that each reaches."""
        narrow = encoded.astype(np.float32)
        step = max(1, _CELLS // max(1, len(self.roots)))
        for start in range(0, len(narrow), step):
            part = slice(start, start + step)
            block = narrow[part]
            rows = np.arange(len(block))[:, None]
            node = np.broadcast_to(self.roots, (len(block), len(self.roots)))
            for _ in range(self.depth):
                goes_left = block[rows, self.feature[node]] < self.threshold[node]
                node = np.where(goes_left, self.left[node], self.right[node])
            yield part, node

    @property
    def outputs(self) -> int:
        return len(self.intercept)

    @cached_property
    def depth(self) -> int:
        """Steps from a root to the deepest leaf."""
        level, depth = self.roots, 0
        while len(level := level[self.left[level] != level]):
            level, depth = np.concatenate((self.left[level], self.right[level])), depth + 1
        return depth

    def check(self, width: int) -> None:
        """Raises ValueError unless the nodes form trees over `width` encoded columns."""
        nodes = len(self.feature)
        own = np.arange(nodes)
        shapes = {part.shape for part in (self.feature, self.threshold, self.left, self.right)}
        if shapes != {(nodes,)} or self.leaf.shape != (nodes, self.outputs) or self.roots.ndim != 1:
            raise ValueError("the arrays of the trees do not fit together")
        if any(part.dtype.kind != "i" for part in (self.roots, self.feature, self.left, self.right)):
            raise ValueError("the positions of tree nodes are not whole numbers")
        inner = self.left != own
        children = np.concatenate((self.left[inner], self.right[inner]))
        parents = np.concatenate((own[inner], own[inner]))
        if (children <= parents).any() or (children >= nodes).any() or (self.right[~inner] != own[~inner]).any():
            raise ValueError("a tree's nodes do not form a tree")
        reached = np.bincount(children, minlength=nodes)
        if nodes and not 0 <= self.roots.min(initial=0) <= self.roots.max(initial=0) < nodes:
            raise ValueError("a tree starts outside the nodes")
        reached[self.roots] += 1
        if (reached != 1).any():
            raise ValueError("a tree's nodes do not form a tree: a node has several parents, or none")
        if nodes and not 0 <= self.feature.min() <= self.feature.max() < width:
            raise ValueError(f"a tree splits on a column beyond the {width} that the encoder makes")
