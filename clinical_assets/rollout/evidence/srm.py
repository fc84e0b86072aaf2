"""Sample-ratio check: do the arms hold the shares that the logged weights intended?

Product of likelihood ratios of each patient's arm against the weight in force, mixed over odds ratios on both sides;
`1 / E` is a p-value that stays valid however often it is read.
"""

from __future__ import annotations

import math

import numpy as np

from clinical_assets.rollout.evidence.bets import EProcess
from clinical_assets.rollout.evidence.courses import multiplied

ODDS_RATIOS = (0.25, 0.5, 0.8, 1.25, 2.0, 4.0)


def sample_ratio() -> EProcess:
    """A test of "every patient reached the challenger with the logged propensity"."""
    return EProcess.start((1 / len(ODDS_RATIOS),) * len(ODDS_RATIOS))


def assign(process: EProcess, challenger: bool, propensity: float) -> EProcess:
    """One newly seen patient, assigned with `propensity` strictly between 0 and 1."""
    return process.multiply(_log_factors(challenger, propensity))


def assign_all(process: EProcess, challenger: np.ndarray, propensity: np.ndarray) -> EProcess:
    """The same for n patients in a row, both (n,). The weights in force were few."""
    if not len(challenger):
        return process
    weights, which = np.unique(propensity, return_inverse=True)
    table = np.array([[_log_factors(arm, weight) for arm in (False, True)] for weight in weights.tolist()])
    return multiplied(process, list(table[which, challenger.astype(int)].T))[0]


def _log_factors(challenger: bool, propensity: float) -> list[float]:
    odds = propensity / (1 - propensity)
    shares = [odds * r / (1 + odds * r) for r in ODDS_RATIOS]
    if challenger:
        return [math.log(q / propensity) for q in shares]
    return [math.log((1 - q) / (1 - propensity)) for q in shares]
