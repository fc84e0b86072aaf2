"""The candidate's risks next to those of the reference model, on the same patients.

Both models were fitted to the same patients, so that chance moves both alike: that their levels or spreads differ is
seen with hardly any error, where outcomes alone are too few. Which of the two is off, the outcomes decide.
"""

from __future__ import annotations

import numpy as np

from clinical_assets.gates.checks import Case
from clinical_assets.gates.performance.calibration_measures import Measured
from clinical_assets.gates.performance.discrimination import reference_of
from clinical_assets.gates.performance.evidence import Evidence
from clinical_assets.gates.performance.simultaneous import Estimate, known, pooled
from clinical_assets.modeling.calibration import to_link


def against_reference(case: Case, measured: tuple[Measured, ...]) -> str:
    """What speaks against the candidate when it is held next to the reference model, in words."""
    pairs = []
    for one in measured:
        reference = reference_of(case.facts, one.evidence)
        if reference is not None:
            pairs.append((one, one.evidence.of(reference)))
    return _level(case, pairs) or _spread(case, pairs)


def _level(case: Case, pairs: list[tuple[Measured, np.ndarray]]) -> str:
    policy, name = case.policy.performance, case.facts.reference_name
    low, high = np.log(policy.reference_level)
    levels = pooled([one.level for one, _ in pairs])
    for one, other in pairs:
        ratio = relative_level(one.evidence, other)
        if ratio is None or not levels:
            continue
        least, most = ratio.bounds(policy.block_confidence, len(pairs))
        observed = levels[-1].value
        if (most < low or least > high) and abs(observed) > abs(observed + ratio.value):
            return (
                f"mean risk is {np.exp(ratio.value):.2f} of that of {name} on {ratio.name}, and the outcomes side with "
                f"{name}: the level of risk is wrong"
            )
    return ""


def relative_level(evidence: Evidence, other: np.ndarray) -> Estimate | None:
    """log(mean risk / mean risk of the other model), with the standard error that the choice of patients leaves; None
    where a mean risk is 0."""
    own = evidence.risk
    if own.mean() <= 0.0 or other.mean() <= 0.0:
        return None
    influence = own / own.mean() - other / other.mean()
    error = float(influence.std(ddof=1) / np.sqrt(len(own)))
    return Estimate(evidence.name, float(np.log(own.mean() / other.mean())), error, evidence.outcomes.n)


def _spread(case: Case, pairs: list[tuple[Measured, np.ndarray]]) -> str:
    """A spread beyond the limit, in sets whose slope is below the band and would be nearer to 1 at the reference's."""
    policy, name = case.policy.performance, case.facts.reference_name
    wide = [
        (ratio, one.spread)
        for one, other in pairs
        if (ratio := relative_spread(one.evidence, other)) > policy.reference_spread and known([one.spread])
    ]
    slopes = pooled([slope for _, slope in wide])
    if not slopes:
        return ""
    slope, ratio = slopes[-1].value, float(np.mean([ratio for ratio, _ in wide]))
    if slope >= policy.slope[0] or abs(slope - 1.0) <= abs(slope * ratio - 1.0):
        return ""
    return (
        f"risks are spread {ratio:.2f} times as wide as those of {name}, and with slope {slope:.2f} on "
        f"{slopes[-1].name} the outcomes side with {name}: overconfident"
    )


def relative_spread(evidence: Evidence, other: np.ndarray) -> float:
    """Standard deviation of the risks on the link scale over that of the other model's; 1 where the other's is 0."""
    link = "cloglog" if evidence.outcomes.kind == "survival" else "logit"
    own, theirs = float(to_link(evidence.risk, link).std()), float(to_link(other, link).std())
    return own / theirs if theirs > 0.0 else 1.0
