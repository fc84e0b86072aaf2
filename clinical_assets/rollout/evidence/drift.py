"""Do the scores still come from the distribution that was judged? Randomised conformal ranks, and PSI as effect size.

The rank of a new score among the reference and all live scores so far, ties broken at random, is uniform and
independent of earlier ranks as long as all are exchangeable (Vovk, Gammerman and Shafer 2005). A Dirichlet mixture over
rank bins is then an exact test, whatever the size of the reference; a small reference costs power only. Scores are
held as counts between the reference's quantiles, so the state has a fixed size.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.courses import logarithm, running

BINS = 10
BLOCK = 50_000
"""Scores ranked at once."""

PRIOR = 5.0
"""Dirichlet weight of each rank bin: a modest departure from uniform is expected."""


@dataclass(frozen=True)
class ScoreReference:
    """Frozen distribution of a model's scores: `edges` between bins (rising), `counts` per bin, one more than edges."""

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.edges) + 1 or list(self.edges) != sorted(set(self.edges)):
            raise ValueError("a score reference needs rising edges and one count more than edges")

    def bin(self, score: float) -> int:
        return bisect_right(self.edges, score)


def score_reference(scores: Sequence[float] | np.ndarray) -> ScoreReference:
    """Ten bins of about equal counts; tied scores share a bin. Args: (n,) a model's risks on the locked test split."""
    values = np.asarray(scores, dtype=float)
    edges = tuple(sorted({float(q) for q in np.quantile(values, np.arange(1, BINS) / BINS)}))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return ScoreReference(edges, tuple(int(n) for n in counts))


def tie_breaker(*identity: str) -> float:
    """A number in (0, 1) that depends on the identity alone, so that a replayed log gives the same ranks."""
    digest = sha256("\0".join(identity).encode()).digest()
    return (int.from_bytes(digest[:6], "big") + 0.5) / 2**48


@dataclass(frozen=True)
class DriftEvidence:
    """Live scores per reference bin, ranks per rank bin, and the log of the Dirichlet mixture's E."""

    live: tuple[int, ...]
    ranks: tuple[int, ...] = (0,) * BINS
    log_e: float = 0.0
    log_peak: float = 0.0

    @classmethod
    def start(cls, reference: ScoreReference) -> DriftEvidence:
        return cls((0,) * len(reference.counts))

    @property
    def n(self) -> int:
        return sum(self.live)

    def rejects(self, alpha: float) -> bool:
        return self.log_peak >= -math.log(alpha)

    def update(self, reference: ScoreReference, score: float, uniform: float) -> DriftEvidence:
        """One patient's first score; `uniform` in (0, 1) breaks ties."""
        place = reference.bin(score)
        held = [a + b for a, b in zip(reference.counts, self.live, strict=True)]
        rank = (sum(held[:place]) + uniform * (held[place] + 1)) / (sum(held) + 1)
        cell = min(int(rank * BINS), BINS - 1)
        gain = math.log(BINS * (self.ranks[cell] + PRIOR) / (self.n + BINS * PRIOR))
        live = tuple(n + (i == place) for i, n in enumerate(self.live))
        ranks = tuple(n + (i == cell) for i, n in enumerate(self.ranks))
        log_e = self.log_e + gain
        return DriftEvidence(live, ranks, log_e, max(self.log_peak, log_e))

    def follow(
        self, reference: ScoreReference, scores: np.ndarray, uniforms: np.ndarray
    ) -> tuple[DriftEvidence, np.ndarray]:
        """The same for n patients in a row, both (n,), and log E after each."""
        moved, courses = self, [np.empty(0)]
        for start in range(0, len(scores), BLOCK):
            part = slice(start, start + BLOCK)
            moved, course = moved._through(reference, scores[part], uniforms[part])
            courses.append(course)
        return moved, np.concatenate(courses)

    def _through(
        self, reference: ScoreReference, scores: np.ndarray, uniforms: np.ndarray
    ) -> tuple[DriftEvidence, np.ndarray]:
        place = np.searchsorted(reference.edges, scores, side="right")
        before, live = _tally(self.live, place)
        held = np.array(reference.counts) + before
        rows = np.arange(len(scores))
        below = np.cumsum(held, axis=1)[rows, place] - held[rows, place]
        rank = (below + uniforms * (held[rows, place] + 1)) / (held.sum(axis=1) + 1)
        cell = np.minimum((rank * BINS).astype(int), BINS - 1)
        in_cell, ranks = _tally(self.ranks, cell)
        log_e = running(self.log_e, logarithm(BINS * (in_cell[rows, cell] + PRIOR) / (self.n + rows + BINS * PRIOR)))
        return DriftEvidence(live, ranks, float(log_e[-1]), max(self.log_peak, float(log_e.max()))), log_e

    def stability_index(self, reference: ScoreReference) -> float | None:
        """PSI of live against reference bins, half a patient added to each; `None` before the first of either."""
        if not self.n or not sum(reference.counts):
            return None
        bins = len(self.live)
        was = [(n + 0.5) / (sum(reference.counts) + 0.5 * bins) for n in reference.counts]
        now = [(n + 0.5) / (self.n + 0.5 * bins) for n in self.live]
        return sum((b - a) * math.log(b / a) for a, b in zip(was, now, strict=True))

    def to_json(self) -> dict[str, Any]:
        return {"live": list(self.live), "ranks": list(self.ranks), "log": self.log_e, "peak": self.log_peak}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> DriftEvidence:
        return cls(tuple(state["live"]), tuple(state["ranks"]), state["log"], state["peak"])


def _tally(counts: tuple[int, ...], places: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """(n, bins) counts before each of n additions at `places`, and the counts after all."""
    after = np.cumsum(places[:, None] == np.arange(len(counts)), axis=0) + np.array(counts)
    before = np.vstack((np.array(counts), after[:-1]))
    return before, tuple(after[-1].tolist())
