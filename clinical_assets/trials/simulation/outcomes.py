"""Outcomes of a simulated cohort, calibrated by root finding to the stated event rate and censored share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.simulation import portable
from clinical_assets.trials.simulation.spec import FollowUp, Piecewise, Simulation, Weibull

_BISECTIONS = 100
_WIDEST = 60.0


def labels(simulation: Simulation, log_odds: np.ndarray) -> np.ndarray:
    """(n,) 0 or 1: logistic in `log_odds` (n,), with the intercept at which the mean probability is the event rate."""

    def probability(intercept: float) -> np.ndarray:
        return 1.0 / (1.0 + portable.exp(-(intercept + log_odds)))

    intercept = _root(lambda x: portable.mean(probability(x)) - simulation.event_rate)
    drawn = portable.uniforms(simulation.seed, "outcome", len(log_odds))
    return (drawn < probability(intercept)).astype(np.float64)


def event_times(simulation: Simulation, log_hazard: np.ndarray, horizon: float) -> np.ndarray:
    """(n,) days until the event, proportional hazards in `log_hazard` (n,).

    The baseline is scaled so that the mean of 1 - S(horizon) over these very subjects is the event rate. Times are
    drawn by inversion of the cumulative hazard (Bender, Augustin & Blettner 2005).
    """

    def risk(log_scale: float) -> float:
        return portable.mean(1.0 - portable.exp(-portable.exp(log_scale + log_hazard)))

    scale = _root(lambda x: risk(x) - simulation.event_rate)
    spent = -portable.log(portable.uniforms(simulation.seed, "outcome", len(log_hazard)))
    relative = spent * portable.exp(-(scale + log_hazard))
    baseline = simulation.baseline
    if isinstance(baseline, Weibull):
        return horizon * portable.exp(portable.log(relative) / baseline.shape)
    assert isinstance(baseline, Piecewise)
    return _piecewise_times(baseline, horizon, relative)


def _piecewise_times(baseline: Piecewise, horizon: float, cumulative: np.ndarray) -> np.ndarray:
    """Times at which the cumulative hazard, 1 at the horizon, reaches the values of `cumulative` (n,)."""
    starts = [0.0, *baseline.breaks]
    reached = [0.0]
    for k, hazard in enumerate(baseline.relative[:-1]):
        reached.append(reached[-1] + hazard * (starts[k + 1] - starts[k]))
    at_horizon = max(k for k, start in enumerate(starts) if start < horizon)
    unit = reached[at_horizon] + baseline.relative[at_horizon] * (horizon - starts[at_horizon])
    wanted = cumulative * unit
    piece = np.searchsorted(reached, wanted, side="right") - 1
    return np.array(starts)[piece] + (wanted - np.array(reached)[piece]) / np.array(baseline.relative)[piece]


def followed(times: np.ndarray, waited: np.ndarray, follow_up: FollowUp, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole days of follow-up (n,), at least 1, and the event indicator (n,) after censoring.

    Everybody is censored `follow_up.days` after the last entry, `waited` (n,) days after which one's own observation
    began. The rate of the exponential drop-out is the one at which exactly the stated share is censored.

    Raises:
        ContractError: the end of the study alone censors more than the stated share.
    """
    end = follow_up.days + waited
    observed = times <= end
    wanted = round(follow_up.censored_share * len(times))
    lost = wanted - int((~observed).sum())
    if lost < 0:
        least = 1.0 - float(observed.sum()) / len(times)
        raise ContractError(
            f"simulation: the end of the study alone censors {least:.3f} of {len(times)} subjects, more than the "
            f"censored_share {follow_up.censored_share:g}; raise it, lengthen `follow_up.days`, or raise `event_rate`"
        )
    last = end
    if lost:
        patience = -portable.log(portable.uniforms(seed, "drop-out", len(times)))
        needed = np.sort((patience / times)[observed])
        # a subject is lost at every rate above patience / time
        rate = (needed[lost - 1] + needed[lost]) / 2.0 if lost < len(needed) else 2.0 * needed[-1]
        last = np.minimum(end, patience / rate)
    had = times <= last
    return np.maximum(np.ceil(np.minimum(times, last)), 1.0), had.astype(np.float64)


def _root(function: Callable[[float], float]) -> float:
    """Where an increasing function is 0, by bisection: the same steps on every machine."""
    low, high = -_WIDEST, _WIDEST
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if function(middle) < 0 else (low, middle)
    return (low + high) / 2.0
