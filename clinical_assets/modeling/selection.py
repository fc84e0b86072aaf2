"""The learning procedure: train every family on every training set, then choose and recalibrate out of fold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from clinical_assets.modeling.choice import Context, Trial, choose
from clinical_assets.modeling.encoder import Feature, encode_columns
from clinical_assets.modeling.families import Fitter
from clinical_assets.modeling.folds import stratified_folds
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.modeling.options import FLOOR, Device, Family
from clinical_assets.modeling.outcomes import Kind, Outcomes
from clinical_assets.modeling.plan import Plan, plan_for
from clinical_assets.modeling.predictors import Pool
from clinical_assets.modeling.training_sets import NONE, Folds, Library, Subjects


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
        fitter: what fits the networks; None for this process.
    """

    features: tuple[Feature, ...]
    families: tuple[Family, ...]
    kind: Kind
    horizon: float | None
    seed: int
    device: Device = "cpu"
    fitter: Fitter | None = None

    def run(self, frame: pd.DataFrame, outcomes: Outcomes, folds: int) -> Selection:
        """Learn from `frame` (n, features) and `outcomes` (n,) alone.

        Raises:
            ValueError: too few events.
        """
        return self.train(frame, outcomes, folds, nested=False).select()

    def train(self, frame: pd.DataFrame, outcomes: Outcomes, folds: int, nested: bool) -> Trained:
        """Fit everything that the procedure needs, and with `nested` all that it needs inside each fold too."""
        plan = plan_for(outcomes, self.families, folds)
        fold = stratified_folds(outcomes, plan.folds, self.seed)
        codes = encode_columns(self.features, frame)
        how = (self.horizon, self.seed, self.device, self.fitter)
        subjects = Subjects(self.features, codes, outcomes, fold, *how)
        return Trained(self, plan, subjects, Library(subjects, plan, nested))


@dataclass(frozen=True)
class Trained:
    """All fits of one run; choices are made from them afterwards."""

    procedure: Procedure
    plan: Plan
    subjects: Subjects
    library: Library

    def select(self, left_out: Folds = NONE) -> Selection:
        """What the procedure finds without the subjects of the folds `left_out`."""
        context = self._context(left_out)
        choice = choose(context, pooling="stack" in self.plan.families)
        kept = {
            name: self._model(name, choice.weights, left_out).recalibrated(choice.recalibration(name, context))
            for name in dict.fromkeys((choice.family, FLOOR))
        }
        reason = f"{choice.reason} ({self.plan.reason})"
        return Selection(kept[choice.family], kept[FLOOR], choice.family, reason, choice.trials)

    def pool(self) -> FamilyModel:
        """The pool of all families, whether it gains on the floor or not."""
        return self._model("stack", choose(self._context(NONE), pooling=True).weights, NONE)

    def _context(self, left_out: Folds) -> Context:
        rows = self.subjects.without(left_out)
        return Context(
            families=self.library.families,
            links=self.library.out_of_fold(left_out)[rows],
            outcomes=self.subjects.outcomes.take(rows),
            fold=self.subjects.fold[rows],
            horizon=self.procedure.horizon,
        )

    def _model(self, family: Family, weights: dict[Family, float], left_out: Folds) -> FamilyModel:
        search = self.procedure
        model = FamilyModel(family, search.features, search.kind, search.seed, search.horizon)
        model.encoder_ = self.library.encoders[left_out]
        if family == "stack":
            members = tuple(self.library.predictor(name, left_out) for name in weights)
            model.predictor_ = Pool(members, np.array(list(weights.values())))
        else:
            model.predictor_ = self.library.predictor(family, left_out)
        return model
