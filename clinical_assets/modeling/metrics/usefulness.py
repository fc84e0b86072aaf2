"""Is acting on the prediction better than treating everyone or no one (Vickers & Elkin 2006; Vickers et al. 2008)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clinical_assets.modeling.metrics.smooth import overall_risk
from clinical_assets.modeling.outcomes import Outcomes


@dataclass(frozen=True)
class NetBenefit:
    """True positives per subject less weighted false positives, for the model and for treating all; none has 0."""

    model: float
    treat_all: float


def net_benefit(outcomes: Outcomes, risk: np.ndarray, threshold: float, horizon: float | None) -> NetBenefit:
    """Net benefit of acting where `risk >= threshold`; events among the flagged by Kaplan-Meier at `horizon`.

    Raises:
        ValueError: threshold outside (0, 1).
    """
    if not 0.0 < threshold < 1.0:
        raise ValueError(f"decision threshold {threshold} is not a probability between 0 and 1")
    odds = threshold / (1.0 - threshold)
    everyone = overall_risk(outcomes, horizon)
    flagged = risk >= threshold
    share = float(flagged.mean())
    among = overall_risk(outcomes.take(flagged), horizon) if flagged.any() else 0.0
    return NetBenefit(
        model=share * among - share * (1.0 - among) * odds,
        treat_all=everyone - (1.0 - everyone) * odds,
    )
