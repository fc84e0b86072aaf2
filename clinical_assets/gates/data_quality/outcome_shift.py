"""DQ13: is the event as frequent among the new patients as in the reference?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.distances import categorical_drift
from clinical_assets.gates.data_quality.outcome_sanity import MIN_PER_ARM, kaplan_meier_risk
from clinical_assets.gates.data_quality.policy import DataQualityPolicy
from clinical_assets.gates.data_quality.reference_cohort import comparisons
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import Endpoint

Rate = tuple[float, tuple[float, float]]
"""An event probability and its 95 % interval."""


@check(GateName.DATA_QUALITY, "DQ13", "Outcome shift", "difference in event probability, new minus reference")
def outcome_shift(case: Case) -> Finding:
    """Difference of event probabilities by the horizon; its interval from those of the two (Zou & Donner 2008)."""
    facts, policy = case.facts, case.policy.data_quality
    limit = policy.outcome_shift
    found: dict[str, tuple[float, tuple[float, float]]] = {}
    stability = {}
    for comparison in comparisons(case):
        rates = event_rates(comparison.reference, comparison.current, facts.contract.endpoint)
        if rates is not None:
            found[comparison.name] = difference(*rates)
            name = facts.contract.outcome_names[-1]
            stability[comparison.name] = _stability(comparison.reference[name], comparison.current[name])
    common: dict[str, Any] = {
        "n": len(facts.train) + len(facts.test),
        "threshold": f"difference within {limit:.0%} points; blocks where its whole interval lies beyond",
        "threshold_source": DataQualityPolicy.source("outcome_shift"),
        "details": {"difference": found, "label_psi": stability},
    }
    if not found:
        return Finding(
            Verdict.INCONCLUSIVE,
            f"fewer than {2 * MIN_PER_ARM} patients with a known outcome on one side of every comparison",
            "wait for more follow-up",
            **common,
        )
    worst = max(found, key=lambda name: abs(found[name][0]))
    shift, (low, high) = found[worst]
    common |= {"value": shift, "interval": (low, high)}
    remedy = "check the coding of the outcome, the follow-up and who was enrolled; then recalibrate or retrain"
    text = f"{worst}: event probability differs by {shift:+.1%} points"
    if any(low > limit or high < -limit for _, (low, high) in found.values()):
        return Finding(Verdict.BLOCK, text, remedy, **common)
    if abs(shift) > limit:
        if low <= 0.0 <= high:
            return Finding(
                Verdict.INCONCLUSIVE, f"{text}, which few events leave open", "wait for more events", **common
            )
        return Finding(Verdict.WARN, text, remedy, **common)
    return Finding(Verdict.PASS, text, **common)


def event_rates(reference: pd.DataFrame, current: pd.DataFrame, endpoint: Endpoint) -> tuple[Rate, Rate] | None:
    """Probability of the event by the horizon on both sides, or by where both are followed; None: too few patients.

    By Kaplan-Meier; for a label, and where nearly everybody or nobody had the event, the share among those whose
    outcome is known, with Wilson's interval.
    """
    sides = (reference, current)
    if endpoint.kind == "binary":
        known = [(frame["label"] == 1, pd.Series(True, index=frame.index)) for frame in sides]
    else:
        horizon = min(float(endpoint.horizon_days or 0.0), *(float(frame["time"].max()) for frame in sides))
        known = []
        for frame in sides:
            had = (frame["event"] == 1) & (frame["time"] <= horizon)
            known.append((had, had | (frame["time"] >= horizon)))
    if any(seen.sum() < 2 * MIN_PER_ARM for _, seen in known):
        return None
    if endpoint.kind == "survival" and all(min(had.sum(), (~had).sum()) >= MIN_PER_ARM for had, _ in known):
        first, second = (
            kaplan_meier_risk(frame["time"].to_numpy(float), frame["event"].to_numpy() == 1, horizon) for frame in sides
        )
        return first, second
    first, second = (proportion(int(had.sum()), int(seen.sum())) for had, seen in known)
    return first, second


def proportion(count: int, n: int) -> Rate:
    """A share with Wilson's 95 % interval."""
    from scipy.stats import binomtest

    interval = binomtest(count, n).proportion_ci(method="wilson")
    return count / n, (float(interval.low), float(interval.high))


def difference(reference: Rate, current: Rate) -> tuple[float, tuple[float, float]]:
    """`current` minus `reference`, with a 95 % interval by the method of variance estimates recovery.

    For two shares with Wilson's intervals it is Newcombe's hybrid score interval.
    """
    (p, (p_low, p_high)), (q, (q_low, q_high)) = current, reference
    return p - q, (
        p - q - float(np.hypot(p - p_low, q_high - q)),
        p - q + float(np.hypot(p_high - p, q - q_low)),
    )


def _stability(reference: pd.Series, current: pd.Series) -> float:
    before, now = (np.array([(side == code).sum() for code in (0, 1)]) for side in (reference, current))
    return categorical_drift(before, now).psi
