"""From a score to a risk over time: proportional hazards, hazards per interval, log odds, and a pool of several.

A predictor answers on the link scale, on which recalibration and pooling act: the log cumulative hazard of a survival
endpoint, the logit of a binary one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clinical_assets.modeling.curves import StepCurve, breslow_hazard
from clinical_assets.modeling.outcomes import Kind, Outcomes
from clinical_assets.modeling.scores import Score
from clinical_assets.modeling.trees import Trees

LARGEST_SCORE = 30.0


class _Survival:
    """Common to the predictors of a survival endpoint."""

    kind: Kind = "survival"

    def logit(self, encoded: np.ndarray) -> np.ndarray:
        """Raises TypeError: only a binary endpoint has log odds."""
        raise TypeError(f"{type(self).__name__} predicts survival; it has no log odds of a label")


class _Binary:
    """Common to the predictors of a binary endpoint."""

    kind: Kind = "binary"

    def log_cumulative_hazard(self, encoded: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Raises TypeError: only a survival endpoint has a hazard."""
        raise TypeError(f"{type(self).__name__} predicts a label; it has no hazard")


@dataclass(frozen=True)
class LogOdds(_Binary):
    """The score is the logit."""

    score: Score

    def logit(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n,)."""
        return self.score(encoded)[:, 0]

    def check(self, width: int) -> None:
        """Raises ValueError unless the score has one output."""
        _check_outputs(self.score, 1)


@dataclass(frozen=True)
class ProportionalHazards(_Survival):
    """The score is a log hazard ratio over `baseline`, the cumulative hazard at score 0."""

    score: Score
    baseline: StepCurve

    @classmethod
    def fit(cls, score: Score, encoded: np.ndarray, outcomes: Outcomes) -> ProportionalHazards:
        """Breslow's baseline under a learnt score."""
        return cls(score, breslow_hazard(_bounded(score(encoded))[:, 0], outcomes))

    def log_cumulative_hazard(self, encoded: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, len(times)); flat after the last step of the baseline."""
        return _bounded(self.score(encoded)) + self._log_baseline.at(times)

    @cached_property
    def _log_baseline(self) -> StepCurve:
        with np.errstate(divide="ignore"):
            return StepCurve(self.baseline.times, np.log(self.baseline.values), -np.inf)

    def check(self, width: int) -> None:
        """Raises ValueError unless the score has one output and the baseline is a cumulative hazard."""
        _check_outputs(self.score, 1)
        hazard = np.concatenate(([self.baseline.initial], self.baseline.values))
        if hazard[0] != 0.0 or (np.diff(hazard) < 0).any():
            raise ValueError("the baseline hazard is not a non-decreasing function of time that starts at 0")


@dataclass(frozen=True)
class DiscreteHazards(_Survival):
    """One logit per interval: the chance of an event in (breaks[k-1], breaks[k]] for who entered it, from time 0 on.

    Within an interval the hazard is constant (Kvamme & Borgan 2021); after the last break nothing more is predicted.
    """

    score: Score
    breaks: np.ndarray

    def log_cumulative_hazard(self, encoded: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, len(times)); flat after the last break."""
        hazard = np.logaddexp(0.0, _bounded(self.score(encoded)))
        edges = np.concatenate(([0.0], self.breaks))
        at = np.clip(times, 0.0, edges[-1])
        interval = np.clip(np.searchsorted(edges, at, side="left") - 1, 0, len(self.breaks) - 1)
        share = (at - edges[interval]) / (edges[interval + 1] - edges[interval])
        before = np.cumsum(hazard, axis=1) - hazard
        with np.errstate(divide="ignore"):
            return np.log(before[:, interval] + share * hazard[:, interval])

    def check(self, width: int) -> None:
        """Raises ValueError unless breaks increase from above 0 and each has its logit."""
        if self.breaks.ndim != 1 or len(self.breaks) == 0 or (np.diff(self.breaks, prepend=0.0) <= 0).any():
            raise ValueError("the breaks are not increasing times above 0")
        _check_outputs(self.score, len(self.breaks))


@dataclass(frozen=True)
class ForestHazards(_Survival):
    """The mean over trees of the cumulative hazard in the leaf that a row reaches, as in a random survival forest.

    The hazard of node k rises by `rise` at `times[step]`, entries `starts[k]` to `starts[k + 1]`.
    """

    trees: Trees
    starts: np.ndarray
    step: np.ndarray
    rise: np.ndarray
    times: np.ndarray

    def log_cumulative_hazard(self, encoded: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, len(times))."""
        asked, order = np.unique(np.searchsorted(self.times, times, side="right"), return_inverse=True)
        due = np.searchsorted(asked, np.arange(len(self.times)), side="right")
        hazard = np.empty((len(encoded), len(asked)))
        for rows, node in self.trees.leaves(encoded):
            first, last = self.starts[node].ravel(), self.starts[node + 1].ravel()
            held = last - first
            entry = np.arange(held.sum()) + np.repeat(first - (np.cumsum(held) - held), held)
            row = np.repeat(np.arange(len(node)), held.reshape(node.shape).sum(axis=1))
            cell = row * (len(asked) + 1) + due[self.step[entry]]
            risen = np.bincount(cell, weights=self.rise[entry], minlength=len(node) * (len(asked) + 1))
            hazard[rows] = np.cumsum(risen.reshape(len(node), -1), axis=1)[:, :-1]
        with np.errstate(divide="ignore"):
            return np.log(hazard / len(self.trees.roots))[:, order]

    def check(self, width: int) -> None:
        """Raises ValueError unless every node has a rising hazard at known times."""
        entries = len(self.rise)
        if self.times.ndim != 1 or (np.diff(self.times) <= 0).any() or not len(self.trees.roots):
            raise ValueError("a forest needs trees and increasing times")
        if self.starts.dtype.kind != "i" or self.step.dtype.kind != "i" or self.step.shape != self.rise.shape:
            raise ValueError("the steps of the hazards do not fit together")
        if self.starts.shape != (self.trees.nodes + 1,) or self.starts[0] != 0 or self.starts[-1] != entries:
            raise ValueError(f"{entries} steps for {self.trees.nodes} nodes do not fit together")
        if (np.diff(self.starts) < 0).any() or (self.rise < 0).any():
            raise ValueError("a hazard of the forest falls")
        if entries and not 0 <= self.step.min() <= self.step.max() < len(self.times):
            raise ValueError("a hazard rises at a time that is not listed")


@dataclass(frozen=True)
class Pool:
    """Weighted mean of the members' links; `weights` (len(members),) are positive and sum to 1."""

    members: tuple[Predictor, ...]
    weights: np.ndarray

    @property
    def kind(self) -> Kind:
        return self.members[0].kind

    def log_cumulative_hazard(self, encoded: np.ndarray, times: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n, len(times))."""
        return self._mean([member.log_cumulative_hazard(encoded, times) for member in self.members])

    def logit(self, encoded: np.ndarray) -> np.ndarray:
        """(n, columns) -> (n,)."""
        return self._mean([member.logit(encoded) for member in self.members])

    def _mean(self, links: list[np.ndarray]) -> np.ndarray:
        return np.add.reduce([weight * link for weight, link in zip(self.weights, links, strict=True)])

    def check(self, width: int) -> None:
        """Raises ValueError unless members are of one kind and the weights positive with sum 1."""
        if not self.members or self.weights.shape != (len(self.members),):
            raise ValueError(f"{len(self.members)} members with weights of shape {self.weights.shape}")
        if (self.weights <= 0).any() or abs(float(self.weights.sum()) - 1.0) > 1e-9:
            raise ValueError("the weights of the members are not positive with sum 1")
        if len({member.kind for member in self.members}) > 1:
            raise ValueError("members of different kinds cannot be pooled")


Predictor = ProportionalHazards | DiscreteHazards | ForestHazards | LogOdds | Pool


def _bounded(score: np.ndarray) -> np.ndarray:
    """A hazard ratio beyond exp(30) says nothing more, and its exponential could overflow."""
    return np.clip(score, -LARGEST_SCORE, LARGEST_SCORE)


def _check_outputs(score: Score, outputs: int) -> None:
    if score.outputs != outputs:
        raise ValueError(f"a score of {score.outputs} outputs where {outputs} are needed")
