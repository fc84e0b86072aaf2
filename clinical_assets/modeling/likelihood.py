"""Penalised likelihoods and the Newton iteration that maximises them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clinical_assets.modeling.outcomes import Outcomes

Derivatives = tuple[float, np.ndarray, np.ndarray]


class ConvergenceError(RuntimeError):
    """Newton's iteration did not settle."""


@dataclass(frozen=True)
class CoxLikelihood:
    """Log partial likelihood with Efron's ties (Efron 1977), in one pass over subjects sorted by time."""

    matrix: np.ndarray
    event: np.ndarray
    starts: np.ndarray
    group: np.ndarray
    fraction: np.ndarray
    deaths: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray, outcomes: Outcomes) -> CoxLikelihood:
        """Prepare (n, p) `matrix` and survival `outcomes`.

        Raises:
            ValueError: no event, so that the likelihood is empty.
        """
        order = np.argsort(outcomes.times(), kind="stable")
        event = outcomes.flag[order]
        if not event.any():
            raise ValueError(f"no event among {len(event)} subjects: a hazard cannot be learnt")
        _, starts, inverse = np.unique(outcomes.times()[order], return_index=True, return_inverse=True)
        counts = np.bincount(inverse, weights=event, minlength=len(starts)).astype(int)
        group = np.repeat(np.arange(len(starts)), counts)
        rank = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
        return cls(matrix[order], event, starts, group, rank / counts[group], inverse)

    def __call__(self, beta: np.ndarray) -> Derivatives:
        """Value, gradient (p,) and Hessian (p, p) at `beta`."""
        eta = self.matrix @ beta
        shift = eta.max()
        hazard = np.exp(eta - shift)
        weighted = hazard[:, None] * self.matrix
        died = np.where(self.event, hazard, 0.0)
        died_weighted = np.where(self.event[:, None], weighted, 0.0)
        risk0 = np.cumsum(hazard[::-1])[::-1][self.starts][self.group]
        risk1 = np.cumsum(weighted[::-1], axis=0)[::-1][self.starts][self.group]
        tied0 = np.add.reduceat(died, self.starts)[self.group]
        tied1 = np.add.reduceat(died_weighted, self.starts, axis=0)[self.group]
        total = risk0 - self.fraction * tied0
        mean = (risk1 - self.fraction[:, None] * tied1) / total[:, None]
        groups = len(self.starts)
        share = np.cumsum(np.bincount(self.group, weights=1.0 / total, minlength=groups))
        own = np.bincount(self.group, weights=self.fraction / total, minlength=groups)
        cumulative = share[self.deaths] - np.where(self.event, own[self.deaths], 0.0)
        value = float(eta[self.event].sum() - np.sum(np.log(total) + shift))
        gradient = self.matrix[self.event].sum(axis=0) - mean.sum(axis=0)
        hessian = mean.T @ mean - self.matrix.T @ (weighted * cumulative[:, None])
        return value, gradient, hessian


@dataclass(frozen=True)
class BinomialLikelihood:
    """Weighted binomial log likelihood with logit or complementary log-log link."""

    matrix: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    offset: np.ndarray
    link: str

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
        step = np.linalg.lstsq(curvature, slope, rcond=None)[0]
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
