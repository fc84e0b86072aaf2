"""Decision trees as flat arrays, evaluated for all rows and trees at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_CELLS = 1 << 21
"""Rows times trees that are walked at once, so that a million rows need no more memory than a few thousand."""


@dataclass(frozen=True)
class Trees:
    """One entry per node: an inner node sends rows with float32 value < `threshold` of column `feature` to `left`,
    others to `right`; a leaf is its own child. `roots` holds one node per tree."""

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray

    def leaves(self, encoded: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Slices of rows, each with the leaf (rows, trees) that a row reaches in every tree."""
        narrow = encoded.astype(np.float32)
        step = max(1, _CELLS // max(1, len(self.roots)))
        for start in range(0, len(narrow), step):
            part = slice(start, start + step)
            block = narrow[part]
            cells, first = block.ravel(), np.arange(len(block))[:, None] * block.shape[1]
            node = np.broadcast_to(self.roots, (len(block), len(self.roots)))
            for _ in range(self.depth):
                goes_right = cells.take(self.feature.take(node) + first) >= self.threshold.take(node)
                node = self._children.take(2 * node + goes_right)
            yield part, node

    @cached_property
    def _children(self) -> np.ndarray:
        """Left and right child of every node in turn."""
        return np.column_stack((self.left, self.right)).ravel()

    @property
    def nodes(self) -> int:
        return len(self.feature)

    @cached_property
    def depth(self) -> int:
        """Steps from a root to the deepest leaf."""
        level, depth = self.roots, 0
        while len(level := level[self.left[level] != level]):
            level, depth = np.concatenate((self.left[level], self.right[level])), depth + 1
        return depth

    def check(self, width: int) -> None:
        """Raises ValueError unless the nodes form trees over `width` encoded columns."""
        own = np.arange(self.nodes)
        if {part.shape for part in (self.feature, self.threshold, self.left, self.right)} != {own.shape}:
            raise ValueError("the arrays of the trees do not fit together")
        if any(part.dtype.kind != "i" for part in (self.roots, self.feature, self.left, self.right)):
            raise ValueError("the positions of tree nodes are not whole numbers")
        if self.roots.ndim != 1 or (self.roots < 0).any() or (self.roots >= self.nodes).any():
            raise ValueError("a tree starts outside the nodes")
        inner = self.left != own
        children = np.concatenate((self.left[inner], self.right[inner]))
        parents = np.concatenate((own[inner], own[inner]))
        if (children <= parents).any() or (children >= self.nodes).any() or (self.right[~inner] != own[~inner]).any():
            raise ValueError("a tree's nodes do not form a tree")
        if (np.bincount(np.concatenate((children, self.roots)), minlength=self.nodes) != 1).any():
            raise ValueError("a tree's nodes do not form a tree: a node has several parents, or none")
        if self.nodes and not 0 <= self.feature.min() <= self.feature.max() < width:
            raise ValueError(f"a tree splits on a column beyond the {width} that the encoder makes")


@dataclass(frozen=True)
class TreeScore:
    """Sum over trees of what their leaves hold: `leaf` (nodes, outputs), `intercept` (outputs,)."""

    trees: Trees
    leaf: np.ndarray
    intercept: np.ndarray

    def __call__(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, outputs)."""
        score = np.empty((len(encoded), self.outputs))
        for rows, node in self.trees.leaves(encoded):
            score[rows] = self.leaf[node].sum(axis=1)
        return score + self.intercept

    @property
    def outputs(self) -> int:
        return len(self.intercept)

    def check(self, width: int) -> None:
        """Raises ValueError unless every node has its outputs."""
        if self.leaf.shape != (self.trees.nodes, self.outputs):
            raise ValueError(f"{self.leaf.shape} leaf values for {self.trees.nodes} nodes")


def side_by_side(forests: Sequence[Trees]) -> Trees:
    """All trees as one, node numbers shifted in order."""
    starts = np.cumsum([0, *(forest.nodes for forest in forests)])[:-1]
    shifted = {
        name: np.concatenate([getattr(forest, name) + start for forest, start in zip(forests, starts, strict=True)])
        for name in ("roots", "left", "right")
    }
    return Trees(
        roots=shifted["roots"].astype(np.int32),
        feature=np.concatenate([forest.feature for forest in forests]).astype(np.int32),
        threshold=np.concatenate([forest.threshold for forest in forests]),
        left=shifted["left"].astype(np.int32),
        right=shifted["right"].astype(np.int32),
    )


def at_most(threshold: np.ndarray) -> np.ndarray:
    """The float32 bound `b` for which a float32 value is < b just when it is <= `threshold`."""
    with np.errstate(over="ignore"):
        nearest = threshold.astype(np.float32)
    below = np.where(nearest > threshold, np.nextafter(nearest, np.float32(-np.inf)), nearest)
    return np.nextafter(below, np.float32(np.inf))
