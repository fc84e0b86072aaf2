"""MP5: does a stated risk of 30 % mean that 30 of 100 such patients have the event?

Observed risk is Kaplan-Meier at the horizon; the slope's labels are weighted by 1/G for censoring.
"""

from __future__ import annotations

from typing import Any

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.evidence import TEST, Evidence, bounds, combined, evidence_sets
from clinical_assets.gates.thresholds import PerformancePolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.metrics.bootstrap import Interval, risk_replicates
from clinical_assets.modeling.metrics.calibration import HorizonCalibration, calibration_at_horizon, slope_error

REMEDY = "recalibrate on out-of-fold predictions, and look for a shift in the event rate between training and test"


@check(GateName.PERFORMANCE, "MP5", "Calibration at the horizon", "observed / expected")
def calibration(case: Case) -> Finding:
    """O/E and slope block, imprecision and ICI warn. Out of fold counts only where recalibration was nested."""
    sets = [evidence for evidence in case.once(evidence_sets) if evidence.name == TEST or evidence.predictions.nested]
    found = [(evidence, _calibration(case, evidence)) for evidence in sets]
    return combined(case, found)


def _calibration(case: Case, evidence: Evidence) -> Finding:
    policy, horizon = case.policy.performance, case.facts.contract.endpoint.horizon_days
    at = calibration_at_horizon(evidence.outcomes, evidence.risk, horizon)
    ratio = _observed_expected(evidence, at, horizon, policy.confidence)
    slope = slope_interval(evidence, at, horizon, policy.confidence)
    common: dict[str, Any] = {
        "value": at.oe,
        "interval": bounds(ratio),
        "n": evidence.outcomes.n,
        "events": evidence.events,
        "threshold": f"O/E {policy.observed_expected[0]:g} to {policy.observed_expected[1]:g}; "
        f"slope {policy.slope[0]:g} to {policy.slope[1]:g}; ICI at most {policy.ici_max:g}",
        "threshold_source": PerformancePolicy.source("observed_expected"),
        "details": {
            "observed": at.observed, "expected": at.expected, "citl": at.citl, "slope": at.slope,
            "slope_interval": slope, "ici": at.ici, "e50": at.e50, "e90": at.e90, "replicates": ratio.replicates,
        },
    }  # fmt: skip
    verdict, reason = _judge(policy, at, ratio, slope)
    text = f"O/E {at.oe:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), slope {at.slope:.2f}, ICI {at.ici:.3f}"
    return Finding(verdict, f"{text} on {evidence.name}{reason}", "" if verdict is Verdict.PASS else REMEDY, **common)


def _judge(
    policy: PerformancePolicy, at: HorizonCalibration, ratio: Interval, slope: tuple[float, float]
) -> tuple[Verdict, str]:
    low, high = policy.observed_expected
    inside = low <= at.oe <= high
    if ratio.high < low or ratio.low > high or (not inside and not ratio.low <= 1.0 <= ratio.high):
        return Verdict.BLOCK, ": the level of risk is wrong"
    if slope[1] < policy.slope[0]:
        return Verdict.BLOCK, ": overconfident, high risks are stated too high and low ones too low"
    if not inside:
        return Verdict.INCONCLUSIVE, ": outside the band, but its interval holds 1"
    if ratio.low < low or ratio.high > high:
        return Verdict.WARN, ": inside the band, its interval is not"
    if not policy.slope[0] <= at.slope <= policy.slope[1]:
        return Verdict.WARN, ": the spread of risks is off"
    return (Verdict.WARN, ": ICI above its limit") if at.ici > policy.ici_max else (Verdict.PASS, "")


def _observed_expected(evidence: Evidence, at: HorizonCalibration, horizon: float | None, level: float) -> Interval:
    counts = evidence.draws.counts
    expected = (counts @ evidence.risk) / counts.sum(axis=1)
    return evidence.draws.interval(at.oe, risk_replicates(evidence.outcomes, horizon, evidence.draws) / expected, level)


def slope_interval(
    evidence: Evidence, at: HorizonCalibration, horizon: float | None, level: float
) -> tuple[float, float]:
    """Wald interval of the calibration slope, by its sandwich error; NaN where the labels determine no slope."""
    from scipy.stats import norm

    error = slope_error(evidence.outcomes, evidence.risk, at.slope, horizon) * float(norm.ppf(0.5 + level / 2.0))
    return at.slope - error, at.slope + error
