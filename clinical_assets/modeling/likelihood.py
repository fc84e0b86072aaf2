"""Penalised likelihoods and the Newton iteration that maximises them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clinical_assets.modeling.outcomes import Outcomes

Derivatives = tuple[float, np.ndarray, np.ndarray]
_BLOCK = 1 << 14


class ConvergenceError(RuntimeError):
    """Newton's iteration did not settle."""


@dataclass(frozen=True)
class CoxLikelihood:
    """Log partial likelihood with Efron's ties (Efron 1977), in one pass over subjects from the last to the first.

    `group` numbers the event times in that order, once per death, with Efron's `fraction`. A subject joins the risk
    set at event time `enters`; `joins` is the first row of each event time. `tied` are the rows that died with others.
    """

    matrix: np.ndarray
    event: np.ndarray
    enters: np.ndarray
    joins: np.ndarray
    group: np.ndarray
    fraction: np.ndarray
    tied: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray, outcomes: Outcomes) -> CoxLikelihood:
        """Prepare (n, p) `matrix` and survival `outcomes`.

        Raises:
            ValueError: no event, so that the likelihood is empty.
        """
        time, flag = outcomes.times(), outcomes.flag
        if not flag.any():
            raise ValueError(f"no event among {len(flag)} subjects: a hazard cannot be learnt")
        order = np.argsort(-time, kind="stable")
        order = order[time[order] >= time[flag].min()]
        steps = np.unique(-time[flag])
        event, enters = flag[order], np.searchsorted(steps, -time[order])
        counts = np.bincount(enters[event], minlength=len(steps))
        group = np.repeat(np.arange(len(steps)), counts)
        rank = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(
            matrix=matrix[order],
            event=event,
            enters=enters,
            joins=np.searchsorted(enters, np.arange(len(steps))),
            group=group,
            fraction=rank / counts[group],
            tied=np.flatnonzero(event & (counts[enters] > 1)),
        )

    def value(self, beta: np.ndarray) -> float:
        """The likelihood alone."""
        eta = self.matrix @ beta
        shift = eta.max()
        hazard = np.exp(eta - shift)
        return float(eta[self.event].sum() - np.sum(np.log(self._totals(hazard)) + shift))

    def __call__(self, beta: np.ndarray) -> Derivatives:
        """Value, gradient (p,) and Hessian (p, p) at `beta`."""
        eta = self.matrix @ beta
        shift = eta.max()
        hazard = np.exp(eta - shift)
        total = self._totals(hazard)
        groups = len(self.joins)
        share = np.bincount(self.group, weights=1.0 / total, minlength=groups)
        own = np.bincount(self.group, weights=self.fraction / total, minlength=groups)
        exposure = hazard * (np.cumsum(share[::-1])[::-1][self.enters] - np.where(self.event, own[self.enters], 0.0))
        value = float(eta[self.event].sum() - np.sum(np.log(total) + shift))
        gradient = (self.event - exposure) @ self.matrix
        hessian = self._spread_of_means(hazard, total)
        for rows in _blocks(len(eta)):
            block = self.matrix[rows]
            hessian -= (block * exposure[rows, None]).T @ block
        return value, gradient, hessian

    def _totals(self, hazard: np.ndarray) -> np.ndarray:
        """(deaths,) hazard at risk at each death, ties thinned out by Efron's fractions."""
        at_risk = np.cumsum(np.add.reduceat(hazard, self.joins))[self.group]
        if not len(self.tied):
            return at_risk
        dying = np.bincount(self.enters[self.tied], weights=hazard[self.tied], minlength=len(self.joins))
        return at_risk - self.fraction * dying[self.group]

    def _spread_of_means(self, hazard: np.ndarray, total: np.ndarray) -> np.ndarray:
        """(p, p) sum over deaths of the outer product of the mean row at risk."""
        groups, width = len(self.joins), self.matrix.shape[1]
        at_risk = np.zeros((groups, width))
        for rows in _blocks(len(hazard)):
            first = self.enters[rows.start]
            starts = self.joins[first : self.enters[rows.stop - 1] + 1] - rows.start
            starts[0] = 0
            weighted = hazard[rows, None] * self.matrix[rows]
            at_risk[first : first + len(starts)] += np.add.reduceat(weighted, starts, axis=0)
        np.cumsum(at_risk, axis=0, out=at_risk)
        squares = np.bincount(self.group, weights=total**-2.0, minlength=groups)
        spread = (at_risk * squares[:, None]).T @ at_risk
        if not len(self.tied):
            return spread
        thinned = np.bincount(self.group, weights=self.fraction / total**2, minlength=groups)
        twice = np.bincount(self.group, weights=(self.fraction / total) ** 2, minlength=groups)
        together = np.unique(self.enters[self.tied])
        starts = np.searchsorted(self.enters[self.tied], together)
        dying = np.add.reduceat(hazard[self.tied, None] * self.matrix[self.tied], starts, axis=0)
        mixed = (at_risk[together] * thinned[together, None]).T @ dying
        return spread - mixed - mixed.T + (dying * twice[together, None]).T @ dying


def _blocks(rows: int) -> list[slice]:
    """Slices of rows that fit the processor's cache and bound the memory of a million rows."""
    return [slice(start, min(start + _BLOCK, rows)) for start in range(0, rows, _BLOCK)]


@dataclass(frozen=True)
class BinomialLikelihood:
    """Weighted binomial log likelihood with logit or complementary log-log link."""

    matrix: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    link: str

    def value(self, beta: np.ndarray) -> float:
        """The likelihood alone."""
        return self(beta)[0]

    def __call__(self, beta: np.ndarray) -> Derivatives:
        """Value, gradient and Fisher-scoring Hessian at `beta`."""
        eta = np.clip(self.matrix @ beta + self.offset, -30.0, 30.0)
        if self.link == "logit":
            chance = 1.0 / (1.0 + np.exp(-eta))
            slope = chance * (1.0 - chance)
            value = self.label * eta - np.logaddexp(0.0, eta)
        else:
            hazard = np.exp(np.minimum(eta, 6.0))
            chance = -np.expm1(-hazard)
            slope = hazard * np.exp(-hazard)
            value = np.where(self.label, np.log(np.maximum(chance, 1e-300)), -hazard)
        spread = np.maximum(chance * (1.0 - chance), 1e-12)
        score = self.weight * (self.label - chance) * slope / spread
        information = self.weight * slope**2 / spread
        hessian = -(self.matrix.T * information) @ self.matrix
        return float(np.sum(self.weight * value)), self.matrix.T @ score, hessian


def maximise(
    likelihood: Callable[[np.ndarray], Derivatives],
    start: np.ndarray,
    penalty: np.ndarray | float = 0.0,
    tolerance: float = 1e-9,
    iterations: int = 100,
) -> tuple[np.ndarray, float]:
    """Maximise likelihood(beta) - sum(penalty * beta^2) / 2 by Newton steps with halving.

    Returns:
        beta (p,) and the likelihood there without the penalty.

    Raises:
        ConvergenceError: `iterations` did not suffice; separated data without a penalty do that.
    """
    beta = np.asarray(start, dtype=np.float64)
    ridge = np.broadcast_to(np.asarray(penalty, dtype=np.float64), beta.shape)
    value, gradient, hessian = likelihood(beta)
    goal = value - 0.5 * float(ridge @ beta**2)
    for _ in range(iterations):
        slope = gradient - ridge * beta
        curvature = np.diag(ridge) - hessian
        step = _solve(curvature, slope)
        gain = float(slope @ step)
        if gain < tolerance * (1.0 + abs(goal)):
            return beta, value
        for _ in range(40):
            trial = beta + step
            with np.errstate(over="ignore", under="ignore", divide="ignore", invalid="ignore"):
                value, gradient, hessian = likelihood(trial)
            reached = value - 0.5 * float(ridge @ trial**2)
            if np.isfinite(hessian).all() and goal - 1e-12 * abs(goal) <= reached < np.inf:
                break
            step = step / 2.0
        else:
            raise ConvergenceError(f"no step improves the likelihood over {len(beta)} coefficients")
        beta, goal = trial, reached
    raise ConvergenceError(f"no maximum within {iterations} Newton steps over {len(beta)} coefficients")


def _solve(curvature: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The Newton step; the shortest one where the curvature is singular."""
    try:
        step = np.linalg.solve(curvature, slope)
    except np.linalg.LinAlgError:
        step = np.full_like(slope, np.nan)
    return step if np.isfinite(step).all() else np.linalg.lstsq(curvature, slope, rcond=None)[0]
