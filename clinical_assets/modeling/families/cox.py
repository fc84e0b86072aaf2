"""The floor: ridge-penalised Cox regression, and ridge-penalised logistic regression for a binary endpoint.

The penalty is chosen by the cross-validated (partial) likelihood (Verweij & van Houwelingen 1993), along a path from
strong to weak on which every fit starts from the one before. In a small cohort that likelihood is mostly noise, so it
has to speak against an expected penalty, which grows with the columns that an event has to pay for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clinical_assets.modeling.families import Job
from clinical_assets.modeling.folds import fewest_of_a_kind, stratified_folds
from clinical_assets.modeling.likelihood import BinomialLikelihood, CoxLikelihood, maximise
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import Predictor
from clinical_assets.modeling.scores import LinearScore

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
"""Per event, on standardised columns: 1 counts as much against a coefficient as the events speak for it."""
EXPECTED = 0.3
"""Expected penalty per column and event; not below the third weakest, not above the third strongest."""
DOUBT = 60.0
"""With so many events or more, a penalty ten times off the expected one has to gain 1 in log likelihood; with fewer,
in proportion more."""
FEWEST_EVENTS = 10
"""With fewer events there is nothing to choose a penalty by."""
PLENTY = 50
"""With so many events per column hardly any penalty is needed, and which one does not matter."""
_FOLDS = 5
_ROUGH = 1e-5
_PATIENCE = 2


def train(jobs: Sequence[Job]) -> list[Predictor]:
    """Choose the penalty of each training set, then fit on all its rows."""
    return [job.predictor(_fit(job)) for job in jobs]


def _fit(job: Job) -> LinearScore:
    return fit_penalised(job.encoded, job.outcomes, choose_penalty(job.encoded, job.outcomes, job.seed))


def fit_penalised(encoded: np.ndarray, outcomes: Outcomes, penalty: float) -> LinearScore:
    """Maximise likelihood - penalty * events * |beta|^2 / 2 on standardised columns; an intercept is not penalised.

    Events are the rarer label of a binary endpoint.
    """
    objective = _Objective(encoded, outcomes)
    return objective.score(objective.fit(objective.start, penalty))


def expected_penalty(columns: int, events: int) -> float:
    """The penalty that data have to speak against."""
    return float(np.clip(EXPECTED * columns / events, PENALTIES[-3], PENALTIES[2]))


def choose_penalty(encoded: np.ndarray, outcomes: Outcomes, seed: int) -> float:
    """The penalty with the best cross-validated likelihood less its distance from the expected one."""
    events = fewest_of_a_kind(outcomes)
    expected = expected_penalty(encoded.shape[1], events)
    if events < FEWEST_EVENTS or events >= PLENTY * encoded.shape[1]:
        return expected
    folds = min(_FOLDS, events // 2)
    fold = stratified_folds(outcomes, folds, seed)
    whole = _Objective(encoded, outcomes)
    parts = [_Objective(encoded[fold != k], outcomes.take(fold != k)) for k in range(folds)]
    betas = [part.start for part in parts]
    best, chosen, since = -np.inf, PENALTIES[0], 0
    for penalty in PENALTIES:
        betas = [part.fit(beta, penalty, _ROUGH) for part, beta in zip(parts, betas, strict=True)]
        gain = sum(whole.value(beta) - part.value(beta) for part, beta in zip(parts, betas, strict=True))
        gain -= max(1.0, DOUBT / events) * float(np.log10(penalty / expected)) ** 2
        if gain > best:
            best, chosen, since = gain, penalty, 0
        elif (since := since + 1) == _PATIENCE:
            break
    return chosen


class _Objective:
    """The likelihood of one training set and its ridge per unit of penalty."""

    def __init__(self, encoded: np.ndarray, outcomes: Outcomes) -> None:
        self.ridge = np.full(encoded.shape[1], float(fewest_of_a_kind(outcomes)))
        self.likelihood: CoxLikelihood | BinomialLikelihood
        self.binary = outcomes.kind == "binary"
        if self.binary:
            design = np.column_stack((np.ones(len(encoded)), encoded))
            self.ridge = np.concatenate(([0.0], self.ridge))
            ones = np.ones(len(encoded))
            self.likelihood = BinomialLikelihood(design, outcomes.flag, ones, 0.0 * ones, "logit")
        else:
            self.likelihood = CoxLikelihood.of(encoded, outcomes)

    @property
    def start(self) -> np.ndarray:
        return np.zeros(len(self.ridge))

    def fit(self, start: np.ndarray, penalty: float, tolerance: float = 1e-9) -> np.ndarray:
        return maximise(self.likelihood, start, penalty * self.ridge, tolerance)[0]

    def value(self, beta: np.ndarray) -> float:
        return self.likelihood.value(beta)

    def score(self, beta: np.ndarray) -> LinearScore:
        return LinearScore.of(beta[1:], float(beta[0])) if self.binary else LinearScore.of(beta)
