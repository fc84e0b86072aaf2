"""Difference in sensitivity between a group and everybody else, as observed and at the group's own event rate.

Sensitivity at the horizon: among patients known to have had the event by then, the weighted share whose risk reached
the operating point, weights 1/G(T-) (Uno et al. 2007). Patients censored earlier weigh 0.

At one operating point a group of low risk has lower sensitivity under *any* calibrated model (infra-marginality:
Simoiu et al. 2017, Corbett-Davies & Goel 2018). So each group is also compared with what the model would reach among
the others if their event rate were the group's: their risks are shifted on the link scale until the mean is the rate
observed in the group. What remains is the model's doing: too low a level, or too little discrimination, in the group.

Intervals: Newcombe's for the observed difference; for the one at the own event rate, Wilson's for the group and the
delta method for the others, joined in the same way (MOVER, Zou & Donner 2008).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinical_assets.gates.bias.group_audit import Audited, Group, judged_groups, quantile, quantiles
from clinical_assets.gates.bias.policy import BiasPolicy
from clinical_assets.modeling.calibration import from_link, to_link
from clinical_assets.modeling.metrics.influence import risk_influence
from clinical_assets.modeling.metrics.proportions import Share, newcombe

_WIDEST_SHIFT = 12.0


@dataclass(frozen=True)
class SensitivityGap:
    """`gap`: sensitivity of the group minus that of the others. `adjusted`: minus what the others would have at the
    group's event rate. `interval`, `adjusted_interval`: for this group alone. For all groups together hold `strict`, at
    the level that blocks, and `adjusted_together`, at the one that is shown."""

    attribute: str
    group: str
    cases: int
    sensitivity: float
    others: float
    gap: float
    interval: tuple[float, float]
    strict: tuple[float, float]
    adjusted: float
    adjusted_interval: tuple[float, float]
    adjusted_together: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"{self.attribute} {self.group} {self.gap:+.2f} ({self.interval[0]:+.2f} to {self.interval[1]:+.2f}), "
            f"at its own event rate {self.adjusted:+.2f} "
            f"({self.adjusted_interval[0]:+.2f} to {self.adjusted_interval[1]:+.2f})"
        )

    def harmed(self, margin: float) -> bool:
        """A shortfall beyond the margin as observed and at the group's own event rate, over all groups together."""
        return self.strict[1] < -margin and self.adjusted_together[1] < -margin


def sensitivity_gaps(
    audit: Audited, threshold: float, policy: BiasPolicy, looks: int | None = None
) -> list[SensitivityGap]:
    """Every group of every attribute with enough cases inside and outside it; `threshold` is the operating point.

    looks: how many groups are judged together; by default those of this audit.
    """
    groups = judged_groups(audit, policy)
    alone, (together, strict) = quantile(policy.confidence, 1), quantiles(policy, looks or len(groups))
    return [_gap(audit, group, threshold, alone, together, strict) for group in groups]


def _gap(
    audit: Audited, group: Group, threshold: float, alone: float, together: float, strict: float
) -> SensitivityGap:
    weight, flagged = np.where(audit.labels.label, audit.labels.weight, 0.0), audit.risk >= threshold
    own = Share.of(weight[group.inside], flagged[group.inside])
    others = Share.of(weight[~group.inside], flagged[~group.inside])
    at_own_rate, error = _at_event_rate(audit, group.inside, threshold)
    adjusted = own.value - at_own_rate

    def around(z: float) -> tuple[float, float]:
        low, high = own.bounds(z)
        return (
            adjusted - float(np.hypot(own.value - low, z * error)),
            adjusted + float(np.hypot(high - own.value, z * error)),
        )

    return SensitivityGap(
        attribute=group.attribute,
        group=group.name,
        cases=group.events,
        sensitivity=own.value,
        others=others.value,
        gap=own.value - others.value,
        interval=newcombe(own, others, alone),
        strict=newcombe(own, others, strict),
        adjusted=adjusted,
        adjusted_interval=around(alone),
        adjusted_together=around(together),
    )


def _at_event_rate(audit: Audited, inside: np.ndarray, threshold: float) -> tuple[float, float]:
    """Sensitivity among the others once their risks are shifted to the group's event rate, and its standard error.

    The error is that of the group's rate, times how steeply sensitivity follows it, and that of the others' risks.
    """
    rate, influence = risk_influence(audit.outcomes.take(inside), audit.horizon)
    rate_error = float(np.sqrt(influence @ influence)) / int(inside.sum())
    link = "cloglog" if audit.outcomes.kind == "survival" else "logit"
    linear = to_link(audit.risk[~inside], link)
    step = max(rate_error, 0.005)
    low, high = max(rate - step, 1e-3), min(rate + step, 1.0 - 1e-3)
    if not low < rate < high:
        return float("nan"), float("nan")
    shifted = _shifted(linear, rate, link)
    reached = np.where(shifted >= threshold, shifted, 0.0)
    value = float(reached.mean()) / rate
    steepness = (_sensitivity(linear, high, threshold, link) - _sensitivity(linear, low, threshold, link)) / (
        high - low
    )
    spread = (reached - reached.mean() - (value + rate * steepness) * (shifted - shifted.mean())) / rate
    return value, float(np.hypot(steepness * rate_error, np.sqrt(spread @ spread) / len(linear)))


def _sensitivity(linear: np.ndarray, rate: float, threshold: float, link: str) -> float:
    """What calibrated risks with mean `rate` give: sum of the risks at or above the operating point over their sum."""
    shifted = _shifted(linear, rate, link)
    return float(shifted[shifted >= threshold].sum() / shifted.sum())


def _shifted(linear: np.ndarray, rate: float, link: str) -> np.ndarray:
    """Risks whose linear predictors are moved together until the mean is `rate`."""
    from scipy.optimize import brentq

    def excess(shift: float) -> float:
        return float(from_link(linear + shift, link).mean()) - rate

    low, high = -_WIDEST_SHIFT, _WIDEST_SHIFT
    while excess(low) > 0.0:
        low *= 2.0
    while excess(high) < 0.0:
        high *= 2.0
    return from_link(linear + float(brentq(excess, low, high, xtol=1e-6)), link)
