"""The standard error of the level of risk, log(observed / expected)."""

from __future__ import annotations

import numpy as np

from clinical_assets.modeling.outcomes import Outcomes


def level_error(outcomes: Outcomes, horizon: float | None, risk: np.ndarray | None = None) -> float:
    """Standard error of log(observed / expected), by influence functions (infinitesimal jackknife); without `risk`
    (n,), of log(observed). NaN without event by the horizon.

    Not below the error that a calibrated model would have were nobody censored: few events by chance would otherwise
    look precise. Observed is Kaplan-Meier at `horizon`; each subject's influence on it is that on the Nelson-Aalen sum,
    times S (Reid 1981).
    """
    if outcomes.kind == "binary":
        observed = float(outcomes.flag.mean())
        influence = outcomes.flag - observed
    else:
        observed, influence = _kaplan_meier_influence(outcomes, float(horizon or 0.0))
    if observed <= 0.0:
        return float("nan")
    relative = influence / observed
    if risk is None or risk.mean() <= 0.0:
        return float(np.sqrt(np.sum(relative**2)) / outcomes.n)
    relative = relative - (risk / risk.mean() - 1.0)
    calibrated = float(np.sqrt(max(np.sum(risk * (1.0 - risk)), 0.0)) / risk.sum())
    return max(float(np.sqrt(np.sum(relative**2)) / outcomes.n), calibrated)


def _kaplan_meier_influence(outcomes: Outcomes, horizon: float) -> tuple[float, np.ndarray]:
    """Risk at `horizon` by Kaplan-Meier, and (n,) each subject's influence on it."""
    time, event, n = outcomes.times(), outcomes.flag, outcomes.n
    steps, position = np.unique(time, return_inverse=True)
    deaths = np.bincount(position, weights=event, minlength=len(steps)) * (steps <= horizon)
    at_risk = n - np.concatenate(([0], np.cumsum(np.bincount(position, minlength=len(steps)))[:-1]))
    left = np.maximum(at_risk - deaths, 1e-9)
    survival = float(np.prod(1.0 - deaths / at_risk))
    compensator = np.cumsum(deaths / (at_risk * left))[position]
    jump = np.where(event & (time <= horizon), 1.0 / left[position], 0.0)
    return 1.0 - survival, survival * n * (jump - compensator)
