"""DQ13: is the event as frequent among the new patients as in the reference?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.distances import categorical_drift
from clinical_assets.gates.data_quality.outcome_sanity import MIN_PER_ARM, Rate, event_rate
from clinical_assets.gates.data_quality.policy import DataQualityPolicy
from clinical_assets.gates.data_quality.reference_cohort import comparisons
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import Endpoint


@check(GateName.DATA_QUALITY, "DQ13", "Outcome shift", "difference in event probability, new minus reference")
def outcome_shift(case: Case) -> Finding:
    """Difference of event probabilities by the horizon; its interval from those of the two (Zou & Donner 2008).

    BLOCK where the difference is beyond the limit and certain: its interval at `block_confidence` excludes none.
    """
    facts, policy = case.facts, case.policy.data_quality
    limit = policy.outcome_shift
    found: dict[str, tuple[float, tuple[float, float]]] = {}
    certain: dict[str, bool] = {}
    stability = {}
    compared = comparisons(case)
    strict = 1.0 - (1.0 - policy.block_confidence) / max(len(compared), 1)
    for comparison in compared:
        rates = event_rates(comparison.reference, comparison.current, facts.contract.endpoint)
        if rates is not None:
            found[comparison.name] = difference(*rates)
            joint = event_rates(comparison.reference, comparison.current, facts.contract.endpoint, strict)
            certain[comparison.name] = joint is not None and _excludes_none(difference(*joint)[1])
            name = facts.contract.outcome_names[-1]
            stability[comparison.name] = _stability(comparison.reference[name], comparison.current[name])
    common: dict[str, Any] = {
        "n": len(facts.train) + len(facts.test),
        "threshold": f"difference within {limit:.0%} points; blocks beyond where its "
        f"{policy.block_confidence:.1%} interval excludes none",
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
    if any(certain[name] and abs(value) > limit for name, (value, _) in found.items()):
        return Finding(Verdict.BLOCK, text, remedy, **common)
    if abs(shift) > limit:
        if low <= 0.0 <= high:
            return Finding(
                Verdict.INCONCLUSIVE, f"{text}, which few events leave open", "wait for more events", **common
            )
        return Finding(Verdict.WARN, text, remedy, **common)
    return Finding(Verdict.PASS, text, **common)


def event_rates(
    reference: pd.DataFrame, current: pd.DataFrame, endpoint: Endpoint, level: float = 0.95
) -> tuple[Rate, Rate] | None:
    """Probability of the event by the horizon on both sides, or by where both are followed; None: too few patients."""
    horizon = None
    if endpoint.kind == "survival":
        horizon = min(float(endpoint.horizon_days or 0.0), *(float(one["time"].max()) for one in (reference, current)))
    first, second = (event_rate(frame, endpoint, level, horizon) for frame in (reference, current))
    return None if first is None or second is None else (first, second)


def difference(reference: Rate, current: Rate) -> tuple[float, tuple[float, float]]:
    """`current` minus `reference`, with an interval at their level by the method of variance estimates recovery.

    For two shares with Wilson's intervals it is Newcombe's hybrid score interval.
    """
    (p, (p_low, p_high)), (q, (q_low, q_high)) = current, reference
    return p - q, (
        p - q - float(np.hypot(p - p_low, q_high - q)),
        p - q + float(np.hypot(p_high - p, q - q_low)),
    )


def _excludes_none(interval: tuple[float, float]) -> bool:
    return interval[0] > 0.0 or interval[1] < 0.0


def _stability(reference: pd.Series, current: pd.Series) -> float:
    before, now = (np.array([(side == code).sum() for code in (0, 1)]) for side in (reference, current))
    return categorical_drift(before, now).psi
