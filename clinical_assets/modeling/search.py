"""The search for a model: the learning procedure on all training subjects, and nested out-of-fold predictions of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clinical_assets.modeling.determinism import single_thread
from clinical_assets.modeling.encoder import features_of
from clinical_assets.modeling.families import Fitter
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.modeling.options import FLOOR, ModelOptions
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.selection import Procedure, Trained

if TYPE_CHECKING:
    from clinical_assets.trials.contract import CohortContract

GRID = 50


@dataclass(frozen=True)
class OutOfFold:
    """Predictions for every training subject by models that never saw the subject.

    Hyper-parameters, choice of family and recalibration are repeated inside each fold, so that nothing about the
    subject entered its own prediction. `survival` (n, len(times)) and `times` are None for a binary endpoint.
    """

    risk: np.ndarray
    survival: np.ndarray | None
    times: np.ndarray | None
    fold: np.ndarray
    families: tuple[str, ...]


@dataclass(frozen=True)
class SearchResult:
    """`candidate` is the chosen model, `reference` the penalised Cox (or logistic) fit; they may be the same object.

    `cv_table` has one row per family; `subject_ids` names the rows of both out-of-fold predictions.
    """

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


def search(
    train: pd.DataFrame,
    contract: CohortContract,
    options: ModelOptions,
    seed: int | None = None,
    fitter: Fitter | None = None,
) -> SearchResult:
    """Run the procedure on all of `train`, and once inside each fold for the out-of-fold predictions.

    Args:
        train: canonical table of the training subjects.
        seed: overrides `options.seed`.
        fitter: what fits the networks; None for this process.

    Raises:
        ValueError: too few events to learn from, or a value outside the contract.
    """
    seed = options.seed if seed is None else seed
    outcomes = Outcomes.from_frame(train, contract.endpoint)
    horizon = contract.endpoint.horizon_days
    how = (options.families, outcomes.kind, horizon, seed, options.device, fitter)
    procedure = Procedure(features_of(contract), *how)
    with single_thread():
        trained = procedure.train(train, outcomes, options.folds, nested=True)
        found = trained.select()
        out_of_fold, reference_out_of_fold = _nested(trained, train)
    return SearchResult(
        candidate=found.candidate,
        reference=found.reference,
        family=found.family,
        reason=found.reason,
        cv_table=[trial.row(chosen=trial.family == found.family) for trial in found.trials.values()],
        out_of_fold=out_of_fold,
        reference_out_of_fold=reference_out_of_fold,
        subject_ids=train["subject_id"].to_numpy(),
        seed=seed,
    )


def _nested(trained: Trained, train: pd.DataFrame) -> tuple[OutOfFold, OutOfFold]:
    """Out-of-fold predictions of the whole procedure and of the floor alone."""
    horizon, fold = trained.procedure.horizon, trained.subjects.fold
    times = None if horizon is None else np.linspace(horizon / GRID, horizon, GRID)
    chosen = [_empty(fold, times) for _ in range(2)]
    families: list[str] = []
    for k in trained.subjects.folds:
        held_out = fold == k
        found = trained.select(frozenset({k}))
        families.append(found.family)
        for target, model in zip(chosen, (found.candidate, found.reference), strict=True):
            target.risk[held_out] = model.risk(train.loc[held_out], horizon)
            if target.survival is not None and times is not None:
                target.survival[held_out] = model.survival(train.loc[held_out], times)
    candidate, reference = chosen
    floor = (FLOOR,) * len(families)
    return replace(candidate, families=tuple(families)), replace(reference, families=floor)


def _empty(fold: np.ndarray, times: np.ndarray | None) -> OutOfFold:
    survival = None if times is None else np.empty((len(fold), len(times)))
    return OutOfFold(np.empty(len(fold)), survival, times, fold, ())
