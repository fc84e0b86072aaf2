"""Weights of a log-linear pool from out-of-fold predictions (Wolpert 1992; Breiman 1996; van der Laan et al. 2007).

The likelihood speaks for the weights, a normal prior around given shares holds them: a small cohort keeps the shares, a
large one finds its own. The sum of the weights is the slope of the pool, which recalibration takes over; the pool
itself keeps their proportions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clinical_assets.modeling.likelihood import BinomialLikelihood, CoxLikelihood, Derivatives, maximise
from clinical_assets.modeling.outcomes import Outcomes

SPREAD = 0.3
"""Standard deviation of the prior of each weight, on the scale of links that are right as they are."""
SLOPE_SPREAD = 10.0
"""Standard deviation of the prior of the slope at which a link is scored; it keeps a handful of subjects in perfect
order from asking for a slope without bound."""
_TOLERANCE = 1e-7


def pool_weights(links: np.ndarray, outcomes: Outcomes, fold: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(members,) weights, not negative, with sum 1.

    Args:
        links: (n, members) out-of-fold log cumulative hazards at the horizon, or logits.
        outcomes: (n,) of the same subjects.
        fold: (n,) fold in which each was held out. Survival is compared within folds: members of other folds were
            predicted by other models.
        shares: (members,) prior weights with sum 1.
    """
    active = np.array([_informs(link, fold) for link in links.T])
    if not active.any():
        return shares
    while True:
        likelihood = _likelihood(links[:, active], outcomes, fold, shares[active])
        ridge = np.full(int(active.sum()), SPREAD**-2.0)
        if outcomes.kind == "binary":
            ridge = np.append(ridge, 0.0)
        moved, _ = maximise(likelihood, np.zeros(len(ridge)), ridge, _TOLERANCE)
        weights = shares[active] + moved[: active.sum()]
        if (weights > 0.0).all() or active.sum() == 1:
            break
        active[np.flatnonzero(active)[np.argmin(weights)]] = False
    found = np.zeros(len(active))
    found[active] = 1.0 if active.sum() == 1 else weights
    return found / found.sum()


def held_out_likelihood(link: np.ndarray, outcomes: Outcomes, fold: np.ndarray) -> float:
    """Log likelihood of the subjects given out-of-fold links (n,), at the slope that fits them best, 0 or more."""
    slope = np.ones(1)
    likelihood = _likelihood(link[:, None], outcomes, fold, slope)
    start = np.zeros(1 if outcomes.kind == "survival" else 2)
    moved, best = maximise(likelihood, start, SLOPE_SPREAD**-2.0, _TOLERANCE)
    if moved[0] >= -1.0:
        return best
    flat = _likelihood(0.0 * link[:, None], outcomes, fold, slope)
    return maximise(flat, start, SLOPE_SPREAD**-2.0, _TOLERANCE)[1]


def _likelihood(
    links: np.ndarray, outcomes: Outcomes, fold: np.ndarray, shares: np.ndarray
) -> Callable[[np.ndarray], Derivatives]:
    """Log likelihood of what the weights have moved from the shares; the last entry of a binary one is an intercept."""
    if outcomes.kind == "binary":
        design = np.column_stack((links, np.ones(len(links))))
        return BinomialLikelihood(design, outcomes.flag, np.ones(len(links)), links @ shares, "logit")
    held_out = [fold == k for k in np.unique(fold)]
    parts = [CoxLikelihood.of(links[rows], outcomes.take(rows)) for rows in held_out if outcomes.flag[rows].any()]

    def stratified(moved: np.ndarray) -> Derivatives:
        values, gradients, hessians = zip(*(part(shares + moved) for part in parts), strict=True)
        return sum(values), np.sum(gradients, axis=0), np.sum(hessians, axis=0)

    return stratified


def _informs(link: np.ndarray, fold: np.ndarray) -> bool:
    """A member that says the same of everyone in each fold has no say."""
    return any(np.ptp(link[fold == k]) > 1e-9 for k in np.unique(fold))
