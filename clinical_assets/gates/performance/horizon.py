"""MP17: can the cohort speak about the horizon at all, and does the model count time in the contract's unit?"""

from __future__ import annotations

from typing import Any

import numpy as np

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.performance.evidence import aligned
from clinical_assets.gates.performance.policy import PerformancePolicy
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.modeling.outcomes import Outcomes

LEVELS = np.linspace(0.1, 0.95, 18)
"""Of the largest mean risk that both models reach: where their times are compared."""
ROUND_OFF = 1e-6
UNIT_REMEDY = "train and predict in days; the contract's time_unit converts the source once, at ingestion"


@check(GateName.PERFORMANCE, "MP17", "Horizon and unit of time", "share of subjects still followed at the horizon")
def horizon_and_units(case: Case) -> Finding:
    """Enough subjects beyond the horizon; curves that end there and agree with the stated risks; and a clock that runs
    as the reference model's, which was fitted to the same patients, so that chance moves both alike.
    """
    facts, policy = case.facts, case.policy.performance
    horizon = facts.contract.endpoint.horizon_days
    common: dict[str, Any] = {
        "n": len(facts.test),
        "threshold": f">= {policy.min_share_at_risk:.0%} and >= {policy.min_at_risk} subjects followed to the horizon; "
        f"clock {policy.time_scale[0]:g} to {policy.time_scale[1]:g} of the reference model's",
        "threshold_source": PerformancePolicy.source("min_share_at_risk"),
    }
    if horizon is None:
        return Finding(Verdict.PASS, "does not apply: a label has no horizon", **common)
    outcomes = [Outcomes.from_frame(frame, facts.contract.endpoint) for frame in (facts.train, facts.test)]
    followed = np.concatenate([one.times() for one in outcomes])
    beyond, n = int((followed >= horizon).sum()), len(followed)
    scale = _scale(facts)
    common |= {
        "value": beyond / n,
        "n": n,
        "events": sum(one.events for one in outcomes),
        "details": {
            "horizon": horizon,
            "at_risk": beyond,
            "follow_up_p90": float(np.quantile(followed, 0.9)),
            "clock_against_reference": scale,
        },
    }
    problems = _curve_problems(facts, horizon)
    if problems:
        return Finding(Verdict.BLOCK, "; ".join(problems), UNIT_REMEDY, **common)
    if scale is not None and not policy.time_scale[0] <= scale <= policy.time_scale[1]:
        reason = f"its clock runs at {scale:.2f} of that of {facts.reference_name}: time in another unit, or rescaled"
        return Finding(Verdict.BLOCK, reason, UNIT_REMEDY, **common)
    text = f"{beyond} of {n} subjects ({beyond / n:.0%}) are followed to day {horizon:g}"
    remedy = "choose an earlier horizon, or wait for follow-up"
    if beyond == 0 or _upper(beyond, n, policy.block_confidence) < policy.min_share_at_risk:
        return Finding(Verdict.BLOCK, f"{text}: the horizon lies beyond the follow-up", remedy, **common)
    if beyond < policy.min_at_risk or beyond / n < policy.min_share_at_risk:
        return Finding(Verdict.INCONCLUSIVE, f"{text}: too few to speak about the horizon", remedy, **common)
    return Finding(Verdict.PASS, text, **common)


def _curve_problems(facts: ReleaseFacts, horizon: float) -> list[str]:
    """Curves that end elsewhere than at the horizon, or that contradict the stated risks."""
    survival, times = facts.test_pred.survival, facts.test_pred.times
    if survival is None or times is None:
        return ["the predictions hold no survival curves"]
    if abs(times[-1] - horizon) > 0.5:
        return [f"the curves end at day {times[-1]:g}, the contract's horizon is day {horizon:g}"]
    apart = float(np.max(np.abs(facts.test_pred.risk - (1.0 - survival[:, -1])), initial=0.0))
    return [f"risk and curve differ by up to {apart:.3f} at the horizon"] if apart > ROUND_OFF else []


def _scale(facts: ReleaseFacts) -> float | None:
    """The candidate's clock relative to the reference model's on the test patients; None without reference."""
    if len(facts.reference_pred.risk) == 0 or facts.test.empty:
        return None
    return time_scale(facts.test_pred, aligned(facts.test, facts.reference_pred))


def time_scale(own: Predictions, other: Predictions) -> float | None:
    """Median ratio of the times at which `other` and `own` reach the same mean risk: 2 is a clock twice as fast.

    Read at `LEVELS` of the largest mean risk that both reach, linear between the times. None without curves, or
    without any risk.
    """
    if own.survival is None or own.times is None or other.survival is None or other.times is None:
        return None
    mine, theirs = (np.append(0.0, 1.0 - one.mean(axis=0)) for one in (own.survival, other.survival))
    top = min(mine.max(), theirs.max())
    if not np.isfinite(top) or top <= 0.0:
        return None
    slow, fast = (
        np.interp(LEVELS * top, np.maximum.accumulate(risk), np.append(0.0, times))
        for risk, times in ((theirs, other.times), (mine, own.times))
    )
    return float(np.median(slow / np.maximum(fast, 1e-9)))


def _upper(count: int, n: int, level: float) -> float:
    """One-sided upper bound of a share (Clopper & Pearson 1934)."""
    from scipy.stats import beta

    return 1.0 if count == n else float(beta.ppf(level, count + 1, n - count))
