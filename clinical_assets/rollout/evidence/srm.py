"""Sample-ratio check: do the arms hold the shares that the logged weights intended?

Product of likelihood ratios of each patient's arm against the weight in force, mixed over odds ratios on both sides;
`1 / E` is a p-value that stays valid however often it is read.
"""

from __future__ import annotations

import math

from clinical_assets.rollout.evidence.bets import EProcess

ODDS_RATIOS = (0.25, 0.5, 0.8, 1.25, 2.0, 4.0)


def sample_ratio() -> EProcess:
    """A test of "every patient reached the challenger with the logged propensity"."""
    return EProcess.start((1 / len(ODDS_RATIOS),) * len(ODDS_RATIOS))


def assign(process: EProcess, challenger: bool, propensity: float) -> EProcess:
    """One newly seen patient, assigned with `propensity` strictly between 0 and 1."""
    odds = propensity / (1 - propensity)
    shares = [odds * r / (1 + odds * r) for r in ODDS_RATIOS]
    if challenger:
        return process.multiply([math.log(q / propensity) for q in shares])
    return process.multiply([math.log((1 - q) / (1 - propensity)) for q in shares])
