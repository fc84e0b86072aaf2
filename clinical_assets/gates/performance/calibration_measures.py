"""Calibration of each set at the horizon: O/E and slope, each with the standard error that it is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from clinical_assets.gates.checks import Case
from clinical_assets.gates.performance.calibration_error import level_error
from clinical_assets.gates.performance.evidence import TEST, Evidence, judged_sets
from clinical_assets.gates.performance.simultaneous import Estimate
from clinical_assets.modeling.calibration import to_link
from clinical_assets.modeling.likelihood import ConvergenceError
from clinical_assets.modeling.metrics.bootstrap import Interval, risk_replicates
from clinical_assets.modeling.metrics.calibration import HorizonCalibration, calibration_at_horizon, slope_error
from clinical_assets.modeling.outcomes import Outcomes

_NORMAL = 1.959963984540054


@dataclass(frozen=True)
class Measured:
    """What one set says. `ratio` and `slope` with 95 % intervals; `level` is log O/E, `spread` the slope, `shift` the
    calibration in the large of a label: risks near 0 and 1 hardly move O/E, however far off they are as odds."""

    evidence: Evidence
    at: HorizonCalibration
    ratio: Interval
    slope: tuple[float, float]
    level: Estimate
    spread: Estimate
    shift: Estimate | None = None


def measure(case: Case) -> tuple[Measured, ...]:
    """Calibration of each set that can say something about it."""
    found = []
    for evidence in case.once(judged_sets):
        if evidence.name == TEST or evidence.predictions.nested:
            try:
                found.append(_measured(case, evidence))
            except ConvergenceError:  # the risks separate the labels: there is no slope
                continue
    return tuple(found)


def _measured(case: Case, evidence: Evidence) -> Measured:
    facts, policy = case.facts, case.policy.performance
    horizon = facts.contract.endpoint.horizon_days
    at = calibration_at_horizon(evidence.outcomes, evidence.risk, horizon)
    counts = evidence.draws.counts
    expected = (counts @ evidence.risk) / counts.sum(axis=1)
    observed = risk_replicates(evidence.outcomes, horizon, evidence.draws)
    ratio = evidence.draws.interval(at.oe, observed / expected, policy.confidence)
    error = level_error(evidence.outcomes, horizon, evidence.risk)
    if evidence.name == TEST:  # the level was learned from the training patients, who are not all patients
        error = float(np.hypot(error, level_error(Outcomes.from_frame(facts.train, facts.contract.endpoint), horizon)))
    spread = slope_error(evidence.outcomes, evidence.risk, at.slope, horizon)
    fewest = min(evidence.events, evidence.outcomes.n - evidence.events)
    # folds lose what they hold back, which turns a weak model's out-of-fold slope negative where events are few
    judged = evidence.name == TEST or evidence.events >= policy.min_out_of_fold_events
    return Measured(
        evidence=evidence,
        at=at,
        ratio=ratio,
        slope=(at.slope - _NORMAL * spread, at.slope + _NORMAL * spread),
        level=Estimate(evidence.name, float(np.log(at.oe)) if at.oe > 0 else float("nan"), error, fewest),
        spread=Estimate(evidence.name, at.slope, spread if judged else float("nan"), fewest),
        shift=odds_shift(evidence, at.citl, len(facts.train), fewest) if evidence.outcomes.kind == "binary" else None,
    )


def odds_shift(evidence: Evidence, citl: float, trained: int, fewest: int) -> Estimate:
    """Calibration in the large with its sandwich error, not below that of the likelihood; in the test split also for
    the intercept having been learned from `trained` patients."""
    risk = expit(to_link(evidence.risk, "logit") + citl)
    information = float(np.sum(risk * (1.0 - risk)))
    if not information > 0.0:
        return Estimate(evidence.name, citl, float("nan"), fewest)
    residual = evidence.outcomes.flag - risk
    error = float(np.sqrt(max(residual @ residual, information))) / information
    if evidence.name == TEST:
        error *= float(np.sqrt(1.0 + len(risk) / trained))
    return Estimate(evidence.name, citl, error, fewest)
