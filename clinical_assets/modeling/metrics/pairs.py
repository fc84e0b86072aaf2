"""Concordance as a weighted sum over comparable pairs, held as matrices so that a bootstrap is two products.

One definition serves Harrell's C, Uno's C and the AUROC; they differ in which pairs count and how much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinical_assets.modeling.curves import StepCurve, censoring_curve
from clinical_assets.modeling.outcomes import Outcomes


@dataclass(frozen=True)
class ConcordancePairs:
    """`comparable` (m, n) weight of the pair (case, other), `cases` (m,) the row numbers of the cases."""

    cases: np.ndarray
    comparable: np.ndarray

    @classmethod
    def of(cls, outcomes: Outcomes, tau: float | None = None, censoring: StepCurve | None = None) -> ConcordancePairs:
        """Uno's C truncated at `tau` (Uno et al. 2011), or the AUROC for binary outcomes.

        Args:
            censoring: G(t); by default estimated from `outcomes`. Weights are G(t-)^-2.

        Raises:
            ValueError: no comparable pair.
        """
        if outcomes.kind == "binary":
            cases = np.flatnonzero(outcomes.flag)
            return cls._checked(cases, np.broadcast_to(~outcomes.flag, (len(cases), outcomes.n)))
        time = outcomes.times()
        curve = censoring if censoring is not None else censoring_curve(outcomes)
        chance = curve.before(time)
        limit = np.inf if tau is None else tau
        cases = np.flatnonzero(outcomes.flag & (time < limit) & (chance > 0))
        return cls._checked(cases, (time[cases][:, None] < time) / chance[cases][:, None] ** 2)

    @classmethod
    def harrell(cls, outcomes: Outcomes) -> ConcordancePairs:
        """Harrell's C (Harrell et al. 1996): an event is comparable with who was seen longer, or censored that day."""
        time, event = outcomes.times(), outcomes.flag
        cases = np.flatnonzero(event)
        later = (time[cases][:, None] < time) | ((time[cases][:, None] == time) & ~event)
        return cls._checked(cases, later)

    @classmethod
    def at_time(cls, outcomes: Outcomes, time: float, censoring: StepCurve | None = None) -> ConcordancePairs:
        """Cumulative/dynamic AUC at `time` days (Uno et al. 2007): events by then, weighted 1/G(t-), against whoever
        is still followed.

        Raises:
            ValueError: no comparable pair.
        """
        followed = outcomes.times()
        curve = censoring if censoring is not None else censoring_curve(outcomes)
        chance = curve.before(followed)
        cases = np.flatnonzero(outcomes.flag & (followed <= time) & (chance > 0))
        return cls._checked(cases, (followed > time)[None, :] / chance[cases][:, None])

    @classmethod
    def _checked(cls, cases: np.ndarray, comparable: np.ndarray) -> ConcordancePairs:
        if not comparable.any():
            raise ValueError(f"{comparable.shape[1]} subjects with {len(cases)} usable events hold no comparable pair")
        return cls(cases, comparable.astype(np.float32))

    def concordance(self, risk: np.ndarray) -> float:
        """Weighted share of pairs in which the case had the higher `risk` (n,); ties count one half."""
        return float(self._agreement(risk).sum(dtype=np.float64) / self.comparable.sum(dtype=np.float64))

    def replicates(self, risk: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """(b,) concordance in each bootstrap sample; `counts` (b, n) says how often each subject was drawn.

        Pairs of a subject with its own copy are not comparable. A sample without comparable pairs gives NaN.
        """
        weights = counts.astype(np.float32)
        cases = weights[:, self.cases]
        total = np.einsum("bn,bn->b", cases @ self.comparable, weights, dtype=np.float64)
        agreed = np.einsum("bn,bn->b", cases @ self._agreement(risk), weights, dtype=np.float64)
        return np.divide(agreed, total, out=np.full(len(total), np.nan), where=total > 0)

    def among(self, cases: np.ndarray, others: np.ndarray) -> ConcordancePairs:
        """The pairs of a case in `cases` (n,) with an other in `others` (n,), both boolean.

        Raises:
            ValueError: no comparable pair among them.
        """
        chosen = cases[self.cases]
        return self._checked(self.cases[chosen], self.comparable[chosen] * others)

    def contributions(self, risk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,) agreeing and (n,) comparable weight of the pairs that each subject is part of.

        (agreeing - C * comparable) / total is a subject's influence on C = concordance(risk), total the weight of all
        pairs (half the sum of comparable); the sum of squares is the variance of C (DeLong et al. 1988 for the AUROC).
        """
        return self._by_subject(self._agreement(risk)), self._by_subject(self.comparable)

    def _by_subject(self, weights: np.ndarray) -> np.ndarray:
        found = weights.sum(axis=0, dtype=np.float64)
        found[self.cases] += weights.sum(axis=1, dtype=np.float64)
        return found

    def _agreement(self, risk: np.ndarray) -> np.ndarray:
        own, others = np.asarray(risk)[self.cases][:, None], np.asarray(risk)
        return self.comparable * ((own > others) + np.float32(0.5) * (own == others))
