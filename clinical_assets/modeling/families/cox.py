"""The floor: ridge-penalised Cox regression, and ridge-penalised logistic regression for a binary endpoint.

The penalty is chosen by the cross-validated (partial) likelihood (Verweij & van Houwelingen 1993).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clinical_assets.modeling.families import Job
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.likelihood import BinomialLikelihood, CoxLikelihood, maximise
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import Predictor
from clinical_assets.modeling.scores import LinearScore

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
_INNER_FOLDS = 5


def train(jobs: Sequence[Job]) -> list[Predictor]:
    """Choose the penalty of each training set, then fit on all its rows."""
    return [job.predictor(_fit(job)) for job in jobs]


def _fit(job: Job) -> LinearScore:
    return fit_penalised(job.encoded, job.outcomes, choose_penalty(job.encoded, job.outcomes, job.seed))


def fit_penalised(encoded: np.ndarray, outcomes: Outcomes, penalty: float) -> LinearScore:
    """Maximise likelihood / n - penalty * |beta|^2 / 2 on standardised columns; an intercept is never penalised."""
    if outcomes.kind == "survival":
        beta, _ = maximise(CoxLikelihood.of(encoded, outcomes), np.zeros(encoded.shape[1]), penalty * outcomes.n)
        return LinearScore.of(beta)
    start, ridge = np.zeros(encoded.shape[1] + 1), np.full(encoded.shape[1] + 1, penalty * outcomes.n)
    ridge[0] = 0.0
    beta, _ = maximise(_binomial(encoded, outcomes), start, ridge)
    return LinearScore.of(beta[1:], float(beta[0]))


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
        beta = score.coefficients[:, 0]
        return CoxLikelihood.of(encoded, outcomes)(beta)[0] - CoxLikelihood.of(encoded[inside], part)(beta)[0]
    beta = np.concatenate((score.intercept, score.coefficients[:, 0]))
    return _binomial(encoded[~inside], outcomes.take(~inside))(beta)[0]


def _binomial(encoded: np.ndarray, outcomes: Outcomes) -> BinomialLikelihood:
    design = np.column_stack((np.ones(len(encoded)), encoded))
    return BinomialLikelihood(design, outcomes.flag, np.ones(len(encoded)), np.zeros(len(encoded)), "logit")
