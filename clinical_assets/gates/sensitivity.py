"""Difference in sensitivity between a group and everybody else, as observed and at the group's own event rate.

Sensitivity at the horizon: among patients known to have had the event by then, the weighted share whose risk reached
the operating point, weights 1/G(T-) (Uno et al. 2007). Patients censored earlier weigh 0.

At one operating point a group of low risk has lower sensitivity under *any* calibrated model (infra-marginality:
Simoiu et al. 2017, Corbett-Davies & Goel 2018). So each group is also compared with what the model would reach among
the others if their event rate were the group's: their risks are shifted on the link scale until the mean is the rate
observed in the group. What remains is the model's doing: too low a level, or too little discrimination, in the group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.gates.thresholds import BiasPolicy
from clinical_assets.modeling.calibration import from_link, to_link
from clinical_assets.modeling.curves import HorizonLabels
from clinical_assets.modeling.metrics.bootstrap import Draws, risk_replicates
from clinical_assets.modeling.outcomes import Outcomes

SHIFTS = np.linspace(-4.0, 4.0, 161)


@dataclass(frozen=True)
class Audited:
    """The patients of the audit: `groups` one text column per attribute, arrays (n,) in the same order."""

    groups: pd.DataFrame
    risk: np.ndarray
    outcomes: Outcomes
    labels: HorizonLabels
    subjects: np.ndarray
    horizon: float | None

    @property
    def cases(self) -> np.ndarray:
        """(n,) known to have had the event by the horizon."""
        return self.labels.label & (self.labels.weight > 0)


@dataclass(frozen=True)
class Gap:
    """`gap`: sensitivity of the group minus that of the others. `adjusted`: minus what the others would have at the
    group's event rate. `interval`, `adjusted_interval`: percentile intervals."""

    attribute: str
    group: str
    cases: int
    sensitivity: float
    others: float
    gap: float
    interval: tuple[float, float]
    adjusted: float
    adjusted_interval: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"{self.attribute} {self.group} {self.gap:+.2f} ({self.interval[0]:+.2f} to {self.interval[1]:+.2f}), "
            f"at its own event rate {self.adjusted:+.2f} "
            f"({self.adjusted_interval[0]:+.2f} to {self.adjusted_interval[1]:+.2f})"
        )


def sensitivity_gaps(audit: Audited, threshold: float, policy: BiasPolicy) -> list[Gap]:
    """Every group of every attribute with enough cases inside and outside it; `threshold` is the operating point."""
    draws = Draws.make(audit.subjects, policy.bootstrap_seed, policy.bootstrap_replicates)
    whole = Draws(np.ones((1, len(audit.risk)), dtype=np.float32), draws.seed)
    found = []
    for attribute in audit.groups.columns:
        names = audit.groups[attribute].astype(str)
        for name, sensitivity in _by_group(audit, names, threshold).items():
            inside = (names == name).to_numpy()
            if min(audit.cases[inside].sum(), audit.cases[~inside].sum()) < policy.min_group_events:
                continue
            raw, adjusted = _differences(audit, inside, threshold, draws)
            (gap,), (own_rate,) = _differences(audit, inside, threshold, whole)
            observed = draws.interval(gap, raw, policy.confidence)
            remaining = draws.interval(own_rate, adjusted, policy.confidence)
            found.append(
                Gap(
                    attribute=attribute,
                    group=name,
                    cases=int(audit.cases[inside].sum()),
                    sensitivity=float(sensitivity),
                    others=float(sensitivity - gap),
                    gap=float(gap),
                    interval=(observed.low, observed.high),
                    adjusted=float(own_rate),
                    adjusted_interval=(remaining.low, remaining.high),
                )
            )
    return found


def _by_group(audit: Audited, names: pd.Series, threshold: float) -> pd.Series:
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import recall_score

    def sensitivity(y_true: np.ndarray, y_pred: np.ndarray, sample_weight: np.ndarray) -> float:
        if not sample_weight.any():  # everybody in the group was censored before the horizon
            return float("nan")
        return recall_score(y_true, y_pred, sample_weight=sample_weight, zero_division=np.nan)

    return MetricFrame(
        metrics=sensitivity,
        y_true=audit.labels.label,
        y_pred=audit.risk >= threshold,
        sensitive_features=names.to_numpy(),
        sample_params={"sample_weight": audit.labels.weight},
    ).by_group


def _differences(audit: Audited, inside: np.ndarray, threshold: float, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """(b,) observed difference, and (b,) difference at the group's event rate, in each bootstrap sample."""
    own, others = _share(audit, inside, threshold, draws), _share(audit, ~inside, threshold, draws)
    rate = risk_replicates(audit.outcomes.take(inside), audit.horizon, Draws(draws.counts[:, inside], draws.seed))
    return own - others, own - _standardised(audit, ~inside, threshold, draws, rate)


def _share(audit: Audited, chosen: np.ndarray, threshold: float, draws: Draws) -> np.ndarray:
    """(b,) sensitivity among `chosen` in each bootstrap sample; NaN without cases."""
    weight = np.where(chosen & audit.labels.label, audit.labels.weight, 0.0)
    total = draws.counts @ weight
    flagged = draws.counts @ (weight * (audit.risk >= threshold))
    return np.divide(flagged, total, out=np.full(len(total), np.nan), where=total > 0)


def _standardised(audit: Audited, others: np.ndarray, threshold: float, draws: Draws, rate: np.ndarray) -> np.ndarray:
    """(b,) sensitivity that calibrated risks of `others` give once shifted to the mean `rate` (b,)."""
    link = "cloglog" if audit.outcomes.kind == "survival" else "logit"
    shifted = from_link(to_link(audit.risk[others], link)[:, None] + SHIFTS, link)
    counts = draws.counts[:, others].astype(np.float64)
    size = counts.sum(axis=1, keepdims=True)
    mean, above = counts @ shifted / size, counts @ (shifted * (shifted >= threshold)) / size
    found = np.full(len(rate), np.nan)
    for b in np.flatnonzero(rate > 0):
        place = np.interp(rate[b], mean[b], np.arange(len(SHIFTS)))
        found[b] = np.interp(place, np.arange(len(SHIFTS)), above[b]) / rate[b]
    return found
