"""Difference in sensitivity between a group and everybody else, with inverse-probability-of-censoring weights.

Sensitivity at the horizon: among patients known to have had the event by then, the weighted share whose risk reached
the operating point, weights 1/G(T-) (Uno et al. 2007). Patients censored earlier weigh 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from clinical_assets.gates.thresholds import BiasPolicy
from clinical_assets.modeling.curves import HorizonLabels
from clinical_assets.modeling.metrics.bootstrap import Draws


@dataclass(frozen=True)
class Gap:
    """`gap` = sensitivity of the group minus that of the others; `low`, `high` its percentile interval."""

    attribute: str
    group: str
    cases: int
    sensitivity: float
    others: float
    gap: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.attribute} {self.group} {self.gap:+.2f} ({self.low:+.2f} to {self.high:+.2f})"


def sensitivity_gaps(
    groups: pd.DataFrame,
    flagged: np.ndarray,
    labels: HorizonLabels,
    subjects: np.ndarray,
    policy: BiasPolicy,
    min_cases: int,
) -> list[Gap]:
    """Every group of every attribute with at least `min_cases` cases, inside and outside it.

    Args:
        groups: one text column per attribute, (n, attributes).
        flagged: (n,) risk at or above the operating point.
    """
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import recall_score

    cases = labels.label & (labels.weight > 0)
    draws = Draws.make(subjects, policy.bootstrap_seed, policy.bootstrap_replicates)
    found = []
    for attribute in groups.columns:
        by_group = MetricFrame(
            metrics=partial(recall_score, zero_division=np.nan),
            y_true=labels.label,
            y_pred=flagged,
            sensitive_features=groups[attribute].astype(str).to_numpy(),
            sample_params={"sample_weight": labels.weight},
        ).by_group
        for name, sensitivity in by_group.items():
            inside = (groups[attribute].astype(str) == name).to_numpy()
            if min(cases[inside].sum(), cases[~inside].sum()) < min_cases:
                continue
            others = float(np.average(flagged[cases & ~inside], weights=labels.weight[cases & ~inside]))
            gap = float(sensitivity) - others
            replicates = _share(inside, flagged, labels, draws) - _share(~inside, flagged, labels, draws)
            interval = draws.interval(gap, replicates, policy.confidence)
            n = int(cases[inside].sum())
            found.append(Gap(attribute, name, n, float(sensitivity), others, gap, interval.low, interval.high))
    return found


def _share(chosen: np.ndarray, flagged: np.ndarray, labels: HorizonLabels, draws: Draws) -> np.ndarray:
    """(b,) sensitivity among `chosen` in each bootstrap sample; NaN without cases."""
    weight = np.where(chosen & labels.label, labels.weight, 0.0)
    total = draws.counts @ weight
    return np.divide(draws.counts @ (weight * flagged), total, out=np.full(len(total), np.nan), where=total > 0)
