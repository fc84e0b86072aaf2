"""How well risk ranks subjects."""

from __future__ import annotations

import itertools

import numpy as np

from clinical_assets.modeling.curves import StepCurve, censoring_curve
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.outcomes import Outcomes

MATRIX_ROWS = 5_000
"""Up to here all pairs are held at once, which a bootstrap needs; beyond, memory grows with the rows only."""
BLOCK = 1_000


def harrell_c(outcomes: Outcomes, risk: np.ndarray) -> float:
    """Harrell's concordance of `risk` (n,) with survival outcomes, by greenwood; of many rows without a matrix.

    Raises:
        TypeError: binary outcomes.
        ValueError: no event.
    """
    import greenwood

    if outcomes.n > MATRIX_ROWS:  # a patient censored on the day of an event was seen longer
        seen = np.where(outcomes.flag, outcomes.times(), np.nextafter(outcomes.times(), np.inf))
        return _ranked(seen, np.asarray(risk), outcomes.flag.astype(np.float64))
    return float(greenwood.concordance_index(greenwood.Surv(outcomes.times(), event=outcomes.flag.astype(int)), risk))


def uno_c(outcomes: Outcomes, risk: np.ndarray, tau: float, censoring: StepCurve | None = None) -> float:
    """Uno's concordance up to `tau` days; `censoring` is G(t), estimated from `outcomes` by default.

    Pairs count when T_i < T_j and T_i < tau, with weight G(T_i-)^-2. Values move with `tau`: fix it in advance.

    Raises:
        TypeError: binary outcomes.
        ValueError: no comparable pair before `tau`.
    """
    time = outcomes.times()
    if outcomes.n <= MATRIX_ROWS:
        return ConcordancePairs.of(outcomes, tau, censoring).concordance(risk)
    chance = (censoring or censoring_curve(outcomes)).before(time)
    weight = np.where(outcomes.flag & (time < tau) & (chance > 0), np.maximum(chance, 1e-300) ** -2.0, 0.0)
    return _ranked(time, np.asarray(risk), weight)


def _ranked(time: np.ndarray, risk: np.ndarray, weight: np.ndarray) -> float:
    """Weighted share of pairs T_i < T_j in which i has the higher risk, without a matrix of all pairs.

    From the longest time down, in blocks: a sorted list of the risks seen so far answers for earlier blocks, a small
    matrix for the pairs inside one. Subjects of equal time stay in one block.
    """
    order = np.argsort(-time, kind="stable")
    time, risk, weight = time[order], risk[order], weight[order]
    first = np.flatnonzero(np.append(True, np.diff(time) != 0))  # where a new time begins
    starts = [0]
    for begin in first:
        if begin - starts[-1] >= BLOCK:
            starts.append(int(begin))
    longer = np.empty(0)
    agreed = total = 0.0
    for start, stop in itertools.pairwise([*starts, len(time)]):
        cases = start + np.flatnonzero(weight[start:stop])
        below, up_to = (np.searchsorted(longer, risk[cases], side) for side in ("left", "right"))
        agreed += float(weight[cases] @ (below + 0.5 * (up_to - below)))
        total += float(weight[cases].sum()) * len(longer)
        for some in np.array_split(cases, len(cases) // BLOCK + 1):
            later = time[some][:, None] < time[start:stop]
            own, others = risk[some][:, None], risk[start:stop]
            agreed += float(weight[some] @ (later * ((own > others) + 0.5 * (own == others))).sum(axis=1))
            total += float(weight[some] @ later.sum(axis=1))
        longer = np.sort(np.concatenate((longer, risk[start:stop])), kind="stable")
    if not total:
        raise ValueError(f"{len(time)} subjects with {np.count_nonzero(weight)} usable events hold no comparable pair")
    return agreed / total


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
