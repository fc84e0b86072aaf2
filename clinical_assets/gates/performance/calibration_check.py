"""MP5: does a stated risk of 30 % mean that 30 of 100 such patients have the event?

Observed risk is Kaplan-Meier at the horizon; the slope's labels are weighted by 1/G for censoring. The level is also
compared with that of the reference model on the same patients: both were fitted to the same patients, so that chance
moves both alike, and a fault in one of them shows where outcomes alone are too few to tell.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.performance.calibration_measures import Measured, measure
from clinical_assets.gates.performance.calibration_reference import against_reference
from clinical_assets.gates.performance.evidence import OUT_OF_FOLD, bounds, combined
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.performance.simultaneous import evidence_above, evidence_below, pooled
from clinical_assets.gates.verdict import GateName, Verdict

REMEDY = "recalibrate on out-of-fold predictions, and look for a shift in the event rate between training and test"


@check(GateName.PERFORMANCE, "MP5", "Calibration at the horizon", "observed / expected")
def calibration(case: Case) -> Finding:
    """O/E, slope and a shift of the odds block, imprecision and ICI warn. Out of fold counts only where nested."""
    policy, measured = case.policy.performance, case.once(measure)
    found = [(one.evidence, _finding(one, policy)) for one in measured]
    return combined(case, found, _against(case, measured), REMEDY)


def _against(case: Case, measured: tuple[Measured, ...]) -> str:
    """What speaks against the model in a joint interval, in words."""
    policy = case.policy.performance
    levels, spreads = pooled([one.level for one in measured]), pooled([one.spread for one in measured])
    shifts = pooled([one.shift for one in measured if one.shift is not None])
    looks, confidence = len(levels) + len(spreads) + len(shifts), policy.block_confidence
    low, high = np.log(policy.observed_expected)
    wrong = evidence_below(levels, 0.0, float(low), confidence, looks) or evidence_above(
        levels, 0.0, float(high), confidence, looks
    )
    if wrong is not None:
        return f"O/E {np.exp(wrong.value):.2f} on {wrong.name}: the level of risk is wrong"
    moved = evidence_below(shifts, 0.0, policy.citl[0], confidence, looks) or evidence_above(
        shifts, 0.0, policy.citl[1], confidence, looks
    )
    if moved is not None:
        return f"odds are off by a factor of {np.exp(-moved.value):.2f} on {moved.name}: the level of risk is wrong"
    flat = evidence_below(spreads, 1.0, policy.slope[0], confidence, looks)
    if flat is not None:
        text = f"slope {flat.value:.2f} on {flat.name}"
        return f"{text}: overconfident, high risks are stated too high and low ones too low"
    return against_reference(case, measured)


def _finding(one: Measured, policy: PerformancePolicy) -> Finding:
    at, ratio, evidence = one.at, one.ratio, one.evidence
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
            "slope_interval": one.slope, "ici": at.ici, "e50": at.e50, "e90": at.e90, "replicates": ratio.replicates,
        },
    }  # fmt: skip
    verdict, reason = _judge(policy, one)
    text = f"O/E {at.oe:.2f} ({ratio.low:.2f} to {ratio.high:.2f}), slope {at.slope:.2f}, ICI {at.ici:.3f}"
    return Finding(verdict, f"{text} on {evidence.name}{reason}", "" if verdict is Verdict.PASS else REMEDY, **common)


def _judge(policy: PerformancePolicy, one: Measured) -> tuple[Verdict, str]:
    (low, high), ratio, at = policy.observed_expected, one.ratio, one.at
    if not low <= at.oe <= high:
        return Verdict.INCONCLUSIVE, ": outside the band, on too few events to say that the model is at fault"
    if one.slope[1] < policy.slope[0] and one.evidence.name != OUT_OF_FOLD:
        return Verdict.INCONCLUSIVE, ": perhaps overconfident, on too few events to say so"
    if ratio.low < low or ratio.high > high:
        return Verdict.WARN, ": inside the band, its interval is not"
    if not policy.slope[0] <= at.slope <= policy.slope[1]:
        return Verdict.WARN, ": the spread of risks is off"
    return (Verdict.WARN, ": ICI above its limit") if at.ici > policy.ici_max else (Verdict.PASS, "")
