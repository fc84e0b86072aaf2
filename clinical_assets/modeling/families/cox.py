"""The floor: ridge-penalised Cox regression, and ridge-penalised logistic regression for a binary endpoint.

The penalty is chosen by the cross-validated (partial) likelihood (Verweij & van Houwelingen 1993).
"""

from __future__ import annotations

import numpy as np

from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.likelihood import BinomialLikelihood, CoxLikelihood, maximise
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.scores import LinearScore

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_INNER_FOLDS = 5


def train(encoded: np.ndarray, outcomes: Outcomes, seed: int) -> LinearScore:
    """Choose the penalty, then fit on all rows."""
    return fit_penalised(encoded, outcomes, choose_penalty(encoded, outcomes, seed))


def fit_penalised(encoded: np.ndarray, outcomes: Outcomes, penalty: float) -> LinearScore:
    """Maximise likelihood / n - penalty * |beta|^2 / 2 on standardised columns; an intercept is never penalised."""
    if outcomes.kind == "survival":
        beta, _ = maximise(CoxLikelihood.of(encoded, outcomes), np.zeros(encoded.shape[1]), penalty * outcomes.n)
        return LinearScore(beta)
    start, ridge = np.zeros(encoded.shape[1] + 1), np.full(encoded.shape[1] + 1, penalty * outcomes.n)
    ridge[0] = 0.0
    beta, _ = maximise(_binomial(encoded, outcomes), start, ridge)
    return LinearScore(beta[1:], float(beta[0]))


def choose_penalty(encoded: np.ndarray, outcomes: Outcomes, seed: int) -> float:
    """The penalty with the best cross-validated likelihood; the larger one among equals."""
    fold = stratified_folds(outcomes, _INNER_FOLDS, seed)
    gains = [
        sum(_held_out(encoded, outcomes, fold != k, penalty) for k in range(_INNER_FOLDS)) for penalty in PENALTIES
    ]
    return PENALTIES[int(np.argmax(gains))]


def _held_out(encoded: np.ndarray, outcomes: Outcomes, inside: np.ndarray, penalty: float) -> float:
    """Likelihood of everyone less that of the training part, at the training part's coefficients."""
    part = outcomes.take(inside)
    score = fit_penalised(encoded[inside], part, penalty)
    if outcomes.kind == "survival":
        whole = CoxLikelihood.of(encoded, outcomes)(score.coefficients)[0]
        return whole - CoxLikelihood.of(encoded[inside], part)(score.coefficients)[0]
    beta = np.concatenate(([score.intercept], score.coefficients))
    return _binomial(encoded[~inside], outcomes.take(~inside))(beta)[0]


def _binomial(encoded: np.ndarray, outcomes: Outcomes) -> BinomialLikelihood:
    design = np.column_stack((np.ones(len(encoded)), encoded))
    return BinomialLikelihood(design, outcomes.flag, np.ones(len(encoded)), np.zeros(len(encoded)), "logit")
