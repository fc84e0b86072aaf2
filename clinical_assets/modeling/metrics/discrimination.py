"""How well risk ranks subjects."""

from __future__ import annotations

import numpy as np

from clinical_assets.modeling.curves import StepCurve
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes


def harrell_c(outcomes: Outcomes, risk: np.ndarray) -> float:
    """Harrell's concordance of `risk` (n,) with survival outcomes, by greenwood.

    Raises:
        TypeError: binary outcomes.
        ValueError: no event.
    """
    import greenwood

    return float(greenwood.concordance_index(greenwood.Surv(outcomes.times(), event=outcomes.flag.astype(int)), risk))


def uno_c(outcomes: Outcomes, risk: np.ndarray, tau: float, censoring: StepCurve | None = None) -> float:
    """Uno's concordance up to `tau` days; `censoring` is G(t), estimated from `outcomes` by default.

    Pairs count when T_i < T_j and T_i < tau, with weight G(T_i-)^-2. Values move with `tau`: fix it in advance.

    Raises:
        TypeError: binary outcomes.
        ValueError: no comparable pair before `tau`.
    """
    outcomes.times()
    return ConcordancePairs.of(outcomes, tau, censoring).concordance(risk)


def auroc(outcomes: Outcomes, risk: np.ndarray) -> float:
    """Area under the ROC curve for binary outcomes, by scikit-learn.

    Raises:
        ValueError: one class only.
    """
    from sklearn.metrics import roc_auc_score

    if outcomes.events in (0, outcomes.n):
        raise ValueError(f"AUROC needs both labels; {outcomes.events} of {outcomes.n} are positive")
    return float(roc_auc_score(outcomes.flag, risk))


def sensitivity_specificity(outcomes: Outcomes, risk: np.ndarray, threshold: float) -> tuple[float, float]:
    """Binary outcomes, `risk >= threshold` flagged; NaN where a class is empty."""
    flagged = risk >= threshold
    positive, negative = outcomes.flag, ~outcomes.flag
    sensitivity = float(flagged[positive].mean()) if positive.any() else float("nan")
    specificity = float((~flagged[negative]).mean()) if negative.any() else float("nan")
    return sensitivity, specificity
