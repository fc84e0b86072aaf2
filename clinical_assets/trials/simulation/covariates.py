"""Covariates of a simulated cohort: marginals joined by a Gaussian copula, values missing completely at random."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from clinical_assets.trials.column import Column
from clinical_assets.trials.simulation import portable
from clinical_assets.trials.simulation.correlation import cholesky
from clinical_assets.trials.simulation.distributions import Bernoulli, Categorical, Count, LogNormal, Marginal, Normal
from clinical_assets.trials.simulation.spec import Simulation


def draw(simulation: Simulation, columns: Mapping[str, Column]) -> dict[str, np.ndarray]:
    """Complete values by column name, each (n,): numbers and truth values float64, categories as positions (int)."""
    uniform = {name: portable.uniforms(simulation.seed, name, simulation.patients) for name in simulation.columns}
    names = simulation.correlated
    latent = {name: portable.normal_quantile(uniform[name]) for name in names}
    factor = cholesky(names, {item.between: item.r for item in simulation.correlations})
    for i, name in enumerate(names):
        mixed = np.zeros(simulation.patients)
        for j in range(i + 1):
            mixed = mixed + factor[i][j] * latent[names[j]]
        uniform[name] = portable.normal_cdf(mixed)
    return {name: quantile(marginal, columns[name], uniform[name]) for name, marginal in simulation.columns.items()}


def quantile(marginal: Marginal, column: Column, p: np.ndarray) -> np.ndarray:
    """Values of `marginal` at the probabilities p (n,), within the plausible range of `column`."""
    if isinstance(marginal, Bernoulli):
        return (p >= 1.0 - marginal.share).astype(np.float64)
    if isinstance(marginal, Categorical):
        return np.searchsorted(_cumulative([marginal.shares[name] for name in column.categories or ()]), p, "right")
    low, high = column.plausible_range or (-math.inf, math.inf)
    if isinstance(marginal, Count):
        return _poisson(marginal.mean, math.ceil(low), math.floor(high), p)
    if isinstance(marginal, Normal):
        first, last = ((bound - marginal.mean) / marginal.sd for bound in (low, high))
        values = marginal.mean + marginal.sd * _truncated(first, last, p)
    else:
        values = _lognormal(marginal, low, high, p)
    return np.clip(np.round(values, 0 if column.dtype == "integer" else marginal.decimals), low, high)


def with_missing(values: np.ndarray, seed: int, name: str, share: float) -> np.ndarray:
    """(n,) truth: which values are missing, exactly `share` of them (rounded to whole rows)."""
    drawn = portable.uniforms(seed, f"{name}: missing", len(values))
    missing = np.zeros(len(values), dtype=bool)
    missing[np.argsort(drawn, kind="stable")[: round(share * len(values))]] = True
    return missing


def _lognormal(marginal: LogNormal, low: float, high: float, p: np.ndarray) -> np.ndarray:
    centre = _log(marginal.median)
    first, last = ((_log(bound) - centre) / marginal.log_sd for bound in (low, high))
    return portable.exp(centre + marginal.log_sd * _truncated(first, last, p))


def _log(value: float) -> float:
    return float(portable.log(np.array([value]))[0]) if value > 0 else -math.inf


def _truncated(low: float, high: float, p: np.ndarray) -> np.ndarray:
    """Quantiles of the standard normal distribution, given that it lies between `low` and `high`."""
    below, above = portable.normal_cdf(np.array([low, high]))
    return portable.normal_quantile(below + p * (above - below))


def _poisson(mean: float, low: int, high: int, p: np.ndarray) -> np.ndarray:
    weights = [1.0]  # relative to the probability of 0
    for k in range(1, high + 1):
        weights.append(weights[-1] * mean / k)
    total = math.fsum(weights[low:])
    return (low + np.searchsorted(_cumulative([weight / total for weight in weights[low:]]), p, "right")).astype(float)


def _cumulative(shares: list[float]) -> list[float]:
    """Upper ends of all classes but the last, which takes the rest."""
    return [math.fsum(shares[: k + 1]) for k in range(len(shares) - 1)]
