"""Right-continuous step functions of time: Kaplan-Meier, the censoring distribution, Breslow's baseline hazard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clinical_assets.modeling.outcomes import Outcomes


@dataclass(frozen=True)
class StepCurve:
    """`values[k]` holds on [times[k], times[k+1]), `initial` before `times[0]`; flat after the last step."""

    times: np.ndarray
    values: np.ndarray
    initial: float

    def at(self, times: np.ndarray | float) -> np.ndarray:
        """Value at `times`, same shape."""
        return self._pick(np.searchsorted(self.times, times, side="right"))

    def before(self, times: np.ndarray | float) -> np.ndarray:
        """Left limit at `times`, same shape."""
        return self._pick(np.searchsorted(self.times, times, side="left"))

    def _pick(self, position: np.ndarray) -> np.ndarray:
        return self._with_initial[position]

    @cached_property
    def _with_initial(self) -> np.ndarray:
        return np.concatenate(([self.initial], self.values))

    def check(self, width: int) -> None:
        """Raises ValueError unless every one of the increasing times has a value."""
        if self.times.ndim != 1 or self.times.shape != self.values.shape or (np.diff(self.times) <= 0).any():
            raise ValueError("a step curve needs increasing times with one value each")


def kaplan_meier(time: np.ndarray, event: np.ndarray, weight: np.ndarray | None = None) -> StepCurve:
    """Product-limit estimate of P(T > t) (Kaplan & Meier 1958); `weight` counts each subject (n,)."""
    weight = np.ones(len(time)) if weight is None else weight
    steps, inverse = np.unique(time, return_inverse=True)
    deaths = np.bincount(inverse, weights=weight * event, minlength=len(steps))
    leaving = np.bincount(inverse, weights=weight, minlength=len(steps))
    at_risk = np.cumsum(leaving[::-1])[::-1]
    factors = 1.0 - np.divide(deaths, at_risk, out=np.zeros_like(deaths), where=at_risk > 0)
    return StepCurve(steps, np.clip(np.cumprod(factors), 0.0, 1.0), 1.0)


def censoring_curve(outcomes: Outcomes) -> StepCurve:
    """G(t) = P(C > t) by Kaplan-Meier; on the same day events come first, so that they are not at risk of censoring."""
    time, event = outcomes.times(), outcomes.flag
    steps, inverse = np.unique(time, return_inverse=True)
    leaving = np.bincount(inverse, minlength=len(steps))
    lost = np.bincount(inverse, weights=~event, minlength=len(steps))
    at_risk = np.cumsum(leaving[::-1])[::-1] - (leaving - lost)
    factors = 1.0 - np.divide(lost, at_risk, out=np.zeros(len(steps)), where=at_risk > 0)
    return StepCurve(steps, np.cumprod(factors), 1.0)


def breslow_hazard(log_hazard: np.ndarray, outcomes: Outcomes) -> StepCurve:
    """Cumulative hazard at log hazard 0 given every subject's log hazard ratio (n,) (Breslow 1974)."""
    time, event = outcomes.times(), outcomes.flag
    steps, inverse = np.unique(time, return_inverse=True)
    hazard = np.bincount(inverse, weights=np.exp(log_hazard), minlength=len(steps))
    at_risk = np.cumsum(hazard[::-1])[::-1]
    deaths = np.bincount(inverse, weights=event, minlength=len(steps))
    seen = deaths > 0
    return StepCurve(steps[seen], np.cumsum(deaths[seen] / at_risk[seen]), 0.0)


@dataclass(frozen=True)
class HorizonLabels:
    """Who had the event by the horizon, with inverse-probability-of-censoring weights (0: unknown)."""

    label: np.ndarray
    weight: np.ndarray


def horizon_labels(
    outcomes: Outcomes, horizon: float, censoring: StepCurve | None = None, cap: float = 20.0
) -> HorizonLabels:
    """Event by `horizon` days, weighted by 1/G (Graf et al. 1999); weights above `cap` are cut to it.

    Args:
        censoring: G(t); by default estimated from `outcomes`.
    """
    if outcomes.kind == "binary":
        return HorizonLabels(outcomes.flag, np.ones(outcomes.n))
    curve = censoring if censoring is not None else censoring_curve(outcomes)
    time = outcomes.times()
    happened = outcomes.flag & (time <= horizon)
    beyond = time > horizon
    chance = np.where(happened, curve.before(time), curve.at(horizon))
    weight = np.where(happened | beyond, np.minimum(1.0 / np.maximum(chance, 1e-12), cap), 0.0)
    return HorizonLabels(happened, weight)
