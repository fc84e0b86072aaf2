"""What one patient contributes to an estimate: the first-order term from which variances follow without resampling."""

from __future__ import annotations

import numpy as np

from clinical_assets.modeling.outcomes import Outcomes


def risk_influence(outcomes: Outcomes, horizon: float | None) -> tuple[float, np.ndarray]:
    """Observed risk (Kaplan-Meier at `horizon`, or the share of positive labels) and each patient's influence (n,).

    The variance of the estimate is sum(influence^2) / n^2; for Kaplan-Meier it is Greenwood's to first order
    (Reid 1981). Influences sum to 0.
    """
    if outcomes.kind == "binary":
        share = float(outcomes.flag.mean())
        return share, outcomes.flag - share
    time, event = outcomes.times(), outcomes.flag
    steps, place = np.unique(time, return_inverse=True)
    deaths = np.bincount(place, weights=event & (time <= (horizon or 0.0)), minlength=len(steps))
    at_risk = np.cumsum(np.bincount(place, minlength=len(steps))[::-1])[::-1]
    hazard = deaths / at_risk
    surviving = float(np.prod(1.0 - hazard))
    left = np.maximum(at_risk - deaths, 1.0)
    own = outcomes.n * (event & (time <= (horizon or 0.0))) / left[place]
    expected = outcomes.n * np.cumsum(hazard / left)[place]
    return 1.0 - surviving, surviving * (own - expected)
