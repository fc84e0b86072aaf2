"""Which model the out-of-fold predictions speak for: the floor, another family, or a pool of all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clinical_assets.modeling.calibration import Recalibration, from_link, recalibrate
from clinical_assets.modeling.curves import censoring_curve
from clinical_assets.modeling.folds import stratified_sample
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.model import TITLES
from clinical_assets.modeling.options import FLOOR, Family
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.stacking import held_out_likelihood, pool_weights

SCORED_ROWS = 5_000
"""Held-out subjects of a fold whose pairs are compared; the choice itself rests on the likelihood of all of them."""
FLOOR_SHARE = 0.75
"""Of the prior of the pool's weights; the other members share the rest."""
LEAST_WEIGHT = 0.02
"""A member below is left out of the pool: it costs at every answer and changes none."""
LEAST_GAIN = 0.0
"""Log likelihood of held-out subjects that a pool must gain over the floor: where it gains nothing, nothing is lost by
the model that anyone can read."""


@dataclass(frozen=True)
class Context:
    """Subjects with out-of-fold links (n, families) at the horizon, and what was observed for them."""

    families: tuple[Family, ...]
    links: np.ndarray
    outcomes: Outcomes
    fold: np.ndarray
    horizon: float | None

    @property
    def metric(self) -> str:
        return "uno_c" if self.outcomes.kind == "survival" else "auroc"


@dataclass(frozen=True)
class Trial:
    """One family over the folds: out-of-fold links (n,), the discrimination within each fold (NaN where a fold holds no
    comparable pair), the log likelihood of the held-out subjects, and the family's weight in the pool."""

    family: Family
    model: str
    metric: str
    scores: tuple[float, ...]
    likelihood: float
    link: np.ndarray
    weight: float = 0.0

    @property
    def mean(self) -> float:
        known = self._known
        return float(known.mean()) if len(known) else 0.5

    @property
    def standard_error(self) -> float:
        known = self._known
        return float(known.std(ddof=1) / np.sqrt(len(known))) if len(known) > 1 else 0.0

    @property
    def _known(self) -> np.ndarray:
        scores = np.array(self.scores)
        return scores[np.isfinite(scores)]

    def row(self, chosen: bool) -> dict[str, Any]:
        """One line of the cross-validation table."""
        return {
            "family": self.family,
            "model": self.model,
            "metric": self.metric,
            "mean": self.mean,
            "standard_error": self.standard_error,
            "folds": [score if np.isfinite(score) else None for score in self.scores],
            "likelihood": self.likelihood,
            "weight": self.weight,
            "chosen": chosen,
        }


@dataclass(frozen=True)
class Choice:
    """The chosen family, why, the members of the pool with their weights, and what was tried."""

    family: Family
    reason: str
    weights: dict[Family, float]
    trials: dict[Family, Trial]

    def recalibration(self, family: Family, context: Context) -> Recalibration:
        """Fitted to the out-of-fold risks of a family that was tried."""
        link = "cloglog" if context.outcomes.kind == "survival" else "logit"
        return recalibrate(from_link(self.trials[family].link, link), context.outcomes, context.horizon)


def choose(context: Context, pooling: bool) -> Choice:
    """Try every family and, if `pooling`, their pool; take what the held-out subjects speak for."""
    columns = zip(context.families, context.links.T, strict=True)
    trials: dict[Family, Trial] = {family: _trial(context, family, link) for family, link in columns}
    if len(trials) == 1:
        return Choice(FLOOR, "the only family tried", {FLOOR: 1.0}, trials)
    if not pooling:
        family, reason = simplest(trials)
        return Choice(family, reason, {}, trials)
    weights = _weights(context)
    pooled = np.sum([weight * trials[family].link for family, weight in weights.items()], axis=0)
    trials = {name: replace(trial, weight=weights.get(name, 0.0)) for name, trial in trials.items()}
    trials["stack"] = replace(_trial(context, "stack", pooled), weight=1.0)
    family, reason = earned(trials, weights)
    return Choice(family, reason, weights, trials)


def simplest(trials: dict[Family, Trial]) -> tuple[Family, str]:
    """The simplest family within one standard error of the best discrimination (Breiman et al. 1984), and why.

    `trials` is in order of complexity, so that a more complex model must earn its place over the floor.
    """
    best = max(trials.values(), key=lambda trial: trial.mean)
    limit = best.mean - best.standard_error
    chosen = next(trial for trial in trials.values() if trial.mean >= limit)
    if chosen is best:
        return chosen.family, f"best {best.metric} {best.mean:.3f}, no simpler family within {best.standard_error:.3f}"
    return chosen.family, (
        f"{chosen.metric} {chosen.mean:.3f} is within one standard error ({best.standard_error:.3f}) "
        f"of {best.family} at {best.mean:.3f}, and {chosen.family} is simpler"
    )


def earned(trials: dict[Family, Trial], weights: dict[Family, float]) -> tuple[Family, str]:
    """The pool where it predicts held-out subjects better than the floor does, else the floor; and why."""
    pool, floor = trials["stack"], trials[FLOOR]
    gain = pool.likelihood - floor.likelihood
    compared = f"{pool.metric} {pool.mean:.3f} against {floor.mean:.3f}"
    if gain <= LEAST_GAIN:
        return FLOOR, f"a pool gains nothing over {FLOOR} on held-out subjects ({gain:+.1f} log likelihood, {compared})"
    if len(weights) == 1:
        family = next(iter(weights))
        return family, f"the pool came down to {family}: {gain:+.1f} log likelihood over {FLOOR}, {compared}"
    members = ", ".join(f"{name} {weight:.2f}" for name, weight in weights.items())
    return "stack", f"{gain:+.1f} log likelihood over {FLOOR} on held-out subjects, {compared}; weights {members}"


def _weights(context: Context) -> dict[Family, float]:
    """The members of the pool, at least one."""
    others = len(context.families) - 1
    shares = np.array([FLOOR_SHARE if family == FLOOR else (1.0 - FLOOR_SHARE) / others for family in context.families])
    found = pool_weights(context.links, context.outcomes, context.fold, shares)
    kept = np.where(found < LEAST_WEIGHT, 0.0, found)
    kept /= kept.sum()
    return {family: float(weight) for family, weight in zip(context.families, kept, strict=True) if weight > 0.0}


def _trial(context: Context, family: Family, link: np.ndarray) -> Trial:
    outcomes = context.outcomes
    censoring = censoring_curve(outcomes) if outcomes.kind == "survival" else None
    scores = []
    for k in np.unique(context.fold):
        rows = np.flatnonzero(context.fold == k)
        if len(rows) > SCORED_ROWS:
            rows = rows[stratified_sample(outcomes.take(rows), SCORED_ROWS, seed=0)]
        try:
            pairs = ConcordancePairs.of(outcomes.take(rows), context.horizon, censoring)
        except ValueError:
            scores.append(float("nan"))
        else:
            scores.append(pairs.concordance(link[rows]))
    likelihood = held_out_likelihood(link, outcomes, context.fold)
    return Trial(family, TITLES[family, outcomes.kind], context.metric, tuple(scores), likelihood, link)
