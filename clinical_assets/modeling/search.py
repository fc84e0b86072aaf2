"""Cross-validated choice among families, recalibration on out-of-fold predictions, and the final fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clinical_assets.modeling.calibration import Recalibration, recalibrate
from clinical_assets.modeling.curves import StepCurve, censoring_curve
from clinical_assets.modeling.determinism import single_thread
from clinical_assets.modeling.encoder import Feature, features_of
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.modeling.options import ModelOptions
from clinical_assets.modeling.outcomes import Outcomes

if TYPE_CHECKING:
    from clinical_assets.trials.contract import CohortContract

FLOOR = "cox"
_GRID = 50


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for every training subject by models that never saw the subject, recalibration included.

    `survival` (n, len(times)) and `times` are None for a binary endpoint.
    """

    risk: np.ndarray
    survival: np.ndarray | None
    times: np.ndarray | None
    fold: np.ndarray


@dataclass(frozen=True)
class SearchResult:
    """`candidate` is the chosen model, `reference` the penalised Cox (or logistic) fit; they may be the same."""

    candidate: FamilyModel
    reference: FamilyModel
    family: str
    reason: str
    cv_table: list[dict[str, Any]]
    out_of_fold: OutOfFold
    reference_out_of_fold: OutOfFold
    subject_ids: np.ndarray
    seed: int

    @property
    def oof_risk(self) -> np.ndarray:
        return self.out_of_fold.risk

    @property
    def oof_survival(self) -> np.ndarray | None:
        return self.out_of_fold.survival

    @property
    def oof_times(self) -> np.ndarray | None:
        return self.out_of_fold.times


def search(train: pd.DataFrame, contract: CohortContract, options: ModelOptions, seed: int | None = None) -> SearchResult:
    """Fit every family on the same subject-level folds, choose one, recalibrate, and refit on all of `train`.

    The simplest family within one standard error of the best wins (Breiman et al. 1984), so that a more complex model
    must earn its place over the penalised Cox. Inner choices (penalty, trees, stopping) are nested inside the folds.

    Args:
        train: canonical table of the training subjects.
        seed: overrides `options.seed`.

    Raises:
        ValueError: too few events for the folds, or a value outside the contract.
    """
    seed = options.seed if seed is None else seed
    outcomes = Outcomes.from_frame(train, contract.endpoint)
    setting = _Setting(features_of(contract), train, outcomes, contract.endpoint.horizon_days, seed, options.folds)
    with single_thread():
        trials = {family: setting.cross_validate(family) for family in options.families}
        family, reason = choose(trials)
        kept = {name: setting.refit(trials[name]) for name in dict.fromkeys((family, FLOOR))}
        out_of_fold = {name: setting.recalibrated(trials[name]) for name in kept}
    return SearchResult(
        candidate=kept[family],
        reference=kept[FLOOR],
        family=family,
        reason=reason,
        cv_table=[trial.row(chosen=trial.family == family) for trial in trials.values()],
        out_of_fold=out_of_fold[family],
        reference_out_of_fold=out_of_fold[FLOOR],
        subject_ids=train["subject_id"].to_numpy(),
        seed=seed,
    )


@dataclass(frozen=True)
class Trial:
    """One family over the folds: its fold models and the discrimination of each on its held-out fold."""

    family: str
    models: tuple[FamilyModel, ...]
    scores: tuple[float, ...]
    metric: str

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def standard_error(self) -> float:
        return float(np.std(self.scores, ddof=1) / np.sqrt(len(self.scores)))

    def row(self, chosen: bool) -> dict[str, Any]:
        return {
            "family": self.family,
            "model": self.models[0].name,
            "metric": self.metric,
            "mean": self.mean,
            "standard_error": self.standard_error,
            "folds": list(self.scores),
            "chosen": chosen,
        }


def choose(trials: dict[str, Trial]) -> tuple[str, str]:
    """The simplest family within one standard error of the best mean; `trials` is in order of complexity."""
    best = max(trials.values(), key=lambda trial: trial.mean)
    limit = best.mean - best.standard_error
    chosen = next(trial for trial in trials.values() if trial.mean >= limit)
    if chosen is best:
        return chosen.family, f"best {best.metric} {best.mean:.3f}, no simpler family within {best.standard_error:.3f}"
    return chosen.family, (
        f"{chosen.metric} {chosen.mean:.3f} is within one standard error ({best.standard_error:.3f}) "
        f"of {best.family} at {best.mean:.3f}, and {chosen.family} is simpler"
    )


class _Setting:
    """What the families share: rows, folds, horizon, censoring curve and time grid."""

    def __init__(
        self,
        features: Sequence[Feature],
        train: pd.DataFrame,
        outcomes: Outcomes,
        horizon: float | None,
        seed: int,
        folds: int,
    ) -> None:
        self.features, self.train, self.outcomes = tuple(features), train, outcomes
        self.horizon, self.seed, self.folds = horizon, seed, folds
        self.fold = stratified_folds(outcomes, folds, seed)
        self.censoring: StepCurve | None = None
        self.times: np.ndarray | None = None
        if outcomes.kind == "survival":
            assert horizon is not None
            self.censoring = censoring_curve(outcomes)
            self.times = np.linspace(horizon / _GRID, horizon, _GRID)

    def cross_validate(self, family: str) -> Trial:
        models, scores = [], []
        for k in range(self.folds):
            inside = self.fold != k
            model = self._new(family).fit(self.train[inside], self.outcomes.take(inside))
            risk = model.risk(self.train[~inside], self.horizon)
            pairs = ConcordancePairs.of(self.outcomes.take(~inside), self.horizon, self.censoring)
            models.append(model)
            scores.append(pairs.concordance(risk))
        metric = "uno_c" if self.outcomes.kind == "survival" else "auroc"
        return Trial(family, tuple(models), tuple(scores), metric)

    def refit(self, trial: Trial) -> FamilyModel:
        """All rows, under the recalibration learnt on all out-of-fold predictions."""
        model = self._new(trial.family).fit(self.train, self.outcomes)
        return model.recalibrated(self._recalibration(self._raw_risk(trial), np.ones(len(self.fold), dtype=bool)))

    def recalibrated(self, trial: Trial) -> OutOfFold:
        """Out-of-fold predictions; each fold's recalibration is learnt on the other folds' predictions."""
        raw = self._raw_risk(trial)
        risk = np.empty(len(raw))
        survival = None if self.times is None else np.empty((len(raw), len(self.times)))
        for k, model in enumerate(trial.models):
            held_out = self.fold == k
            fitted = model.recalibrated(self._recalibration(raw, ~held_out))
            risk[held_out] = fitted.risk(self.train[held_out], self.horizon)
            if survival is not None and self.times is not None:
                survival[held_out] = fitted.survival(self.train[held_out], self.times)
        return OutOfFold(risk, survival, self.times, self.fold)

    def _raw_risk(self, trial: Trial) -> np.ndarray:
        risk = np.empty(len(self.fold))
        for k, model in enumerate(trial.models):
            risk[self.fold == k] = model.risk(self.train[self.fold == k], self.horizon)
        return risk

    def _recalibration(self, risk: np.ndarray, used: np.ndarray) -> Recalibration:
        return recalibrate(risk[used], self.outcomes.take(used), self.horizon, self.censoring)

    def _new(self, family: str) -> FamilyModel:
        return FamilyModel(family, self.features, self.outcomes.kind, self.seed, self.horizon)
