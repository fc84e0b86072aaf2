"""One run of the learning procedure: cross-validate every family, choose, recalibrate out of fold, refit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.modeling.calibration import recalibrate
from clinical_assets.modeling.curves import censoring_curve
from clinical_assets.modeling.encoder import Feature
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.metrics.pairs import ConcordancePairs
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.modeling.options import Family
from clinical_assets.modeling.outcomes import Kind, Outcomes

FLOOR: Family = "cox"


@dataclass(frozen=True)
class Trial:
    """One family over the folds: discrimination on each held-out fold, and the raw out-of-fold risks (n,)."""

    family: Family
    model: str
    metric: str
    scores: tuple[float, ...]
    risk: np.ndarray

    @property
    def mean(self) -> float:
        return float(np.mean(self.scores))

    @property
    def standard_error(self) -> float:
        return float(np.std(self.scores, ddof=1) / np.sqrt(len(self.scores)))

    def row(self, chosen: bool) -> dict[str, Any]:
        """One line of the cross-validation table."""
        return {
            "family": self.family,
            "model": self.model,
            "metric": self.metric,
            "mean": self.mean,
            "standard_error": self.standard_error,
            "folds": list(self.scores),
            "chosen": chosen,
        }


@dataclass(frozen=True)
class Selection:
    """`candidate` is the chosen model, `reference` the penalised Cox (or logistic) fit; they may be the same object."""

    candidate: FamilyModel
    reference: FamilyModel
    family: Family
    reason: str
    trials: dict[Family, Trial]


@dataclass(frozen=True)
class Procedure:
    """What is repeated whenever the procedure runs, be it on all training subjects or inside a fold.

    Args:
        families: in order of complexity.
        horizon: days, None for a binary endpoint.
    """

    features: tuple[Feature, ...]
    families: tuple[Family, ...]
    kind: Kind
    horizon: float | None
    seed: int

    def run(self, frame: pd.DataFrame, outcomes: Outcomes, folds: int) -> Selection:
        """Learn from `frame` (n, features) and `outcomes` (n,) alone.

        Raises:
            ValueError: too few events for the folds.
        """
        fold = stratified_folds(outcomes, folds, self.seed)
        trials: dict[Family, Trial] = {
            family: self._cross_validate(family, frame, outcomes, fold) for family in self.families
        }
        family, reason = choose(trials)
        kept = {name: self._refit(trials[name], frame, outcomes) for name in dict.fromkeys((family, FLOOR))}
        return Selection(kept[family], kept[FLOOR], family, reason, trials)

    def _cross_validate(self, family: Family, frame: pd.DataFrame, outcomes: Outcomes, fold: np.ndarray) -> Trial:
        censoring = censoring_curve(outcomes) if self.kind == "survival" else None
        risk, scores = np.empty(outcomes.n), []
        for k in range(fold.max() + 1):
            inside = fold != k
            model = self._new(family).fit(frame.loc[inside], outcomes.take(inside))
            risk[~inside] = model.risk(frame.loc[~inside], self.horizon)
            pairs = ConcordancePairs.of(outcomes.take(~inside), self.horizon, censoring)
            scores.append(pairs.concordance(risk[~inside]))
        metric = "uno_c" if self.kind == "survival" else "auroc"
        return Trial(family, self._new(family).name, metric, tuple(scores), risk)

    def _refit(self, trial: Trial, frame: pd.DataFrame, outcomes: Outcomes) -> FamilyModel:
        model = self._new(trial.family).fit(frame, outcomes)
        return model.recalibrated(recalibrate(trial.risk, outcomes, self.horizon))

    def _new(self, family: Family) -> FamilyModel:
        return FamilyModel(family, self.features, self.kind, self.seed, self.horizon)


def choose(trials: dict[Family, Trial]) -> tuple[Family, str]:
    """The simplest family within one standard error of the best (Breiman et al. 1984), and why.

    `trials` is in order of complexity, so that a more complex model must earn its place over the penalised Cox.
    """
    best = max(trials.values(), key=lambda trial: trial.mean)
    limit = best.mean - best.standard_error
    chosen = next(trial for trial in trials.values() if trial.mean >= limit)
    if chosen is best:
        return chosen.family, f"best {best.metric} {best.mean:.3f}, no simpler family within {best.standard_error:.3f}"
    return chosen.family, (
        f"{chosen.metric} {chosen.mean:.3f} is within one standard error ({best.standard_error:.3f}) "
        f"of {best.family} at {best.mean:.3f}, and {chosen.family} is simpler"
    )
