"""The training sets of the nested procedure, all known before anything is learnt, and every family trained on them.

With the subjects in K folds there are: all of them, all but one fold, all but two. A model without folds j and k
predicts fold k for the cross-validation inside "all but j", and fold j inside "all but k"; so K(K + 1)/2 + 1 fits per
family serve the whole nested procedure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from clinical_assets.modeling.encoder import Encoder, Feature
from clinical_assets.modeling.families import Fitter, Job, trainer
from clinical_assets.modeling.folds import stratified_sample
from clinical_assets.modeling.options import Device, Family
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.plan import Plan
from clinical_assets.modeling.predictors import Predictor

Folds = frozenset[int]
NONE: Folds = frozenset()
LOWEST_LINK = -30.0
"""A link below says no more; minus infinity, where nothing has happened by the horizon, would be a NaN in a mean."""
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Subjects:
    """Training subjects as codes (n, features) by `encode_columns`, with outcomes and fold numbers (n,)."""

    features: tuple[Feature, ...]
    codes: np.ndarray
    outcomes: Outcomes
    fold: np.ndarray
    horizon: float | None
    seed: int
    device: Device = "cpu"
    fitter: Fitter | None = None

    @property
    def folds(self) -> range:
        return range(int(self.fold.max()) + 1)

    def without(self, left_out: Folds) -> np.ndarray:
        """(n,) bool: subjects outside the folds `left_out`."""
        return ~np.isin(self.fold, list(left_out))

    @cached_property
    def times(self) -> np.ndarray:
        return np.array([self.horizon or 0.0])


@dataclass(frozen=True)
class TrainingSet:
    """All subjects outside the folds `left_out`, or a sample of them; the encoder saw these rows alone."""

    left_out: Folds
    encoder: Encoder
    job: Job


def training_sets(subjects: Subjects, plan: Plan, nested: bool) -> list[TrainingSet]:
    """All subjects first, then all but each fold, then, if `nested`, all but each pair of folds."""
    depths = (1, 2) if nested else (1,)
    left_out = [NONE, *(frozenset(folds) for depth in depths for folds in combinations(subjects.folds, depth))]
    return [_training_set(subjects, folds, None if folds == NONE else plan.rows) for folds in left_out]


def _training_set(subjects: Subjects, left_out: Folds, most: int | None) -> TrainingSet:
    rows = np.flatnonzero(subjects.without(left_out))
    if most is not None and len(rows) > most:
        rows = rows[stratified_sample(subjects.outcomes.take(rows), most, subjects.seed)]
    codes = subjects.codes[rows]
    encoder = Encoder.learn(subjects.features, codes)
    outcomes = subjects.outcomes.take(rows)
    encoded = encoder.encode(codes)
    job = Job(encoded, outcomes, subjects.horizon, subjects.seed, subjects.device, subjects.fitter)
    return TrainingSet(left_out, encoder, job)


class Library:
    """Every family of the plan, trained on every training set."""

    def __init__(self, subjects: Subjects, plan: Plan, nested: bool) -> None:
        self.subjects = subjects
        self.families: tuple[Family, ...] = tuple(family for family in plan.families if family != "stack")
        sets = training_sets(subjects, plan, nested)
        self.encoders = {one.left_out: one.encoder for one in sets}
        self._fitted: dict[tuple[Family, Folds], Predictor] = {}
        for family in self.families:
            jobs = [_thinned(one, plan, family) for one in sets]
            for one, predictor in zip(sets, trainer(family)(jobs), strict=True):
                self._fitted[family, one.left_out] = predictor
        self._links = {one.left_out: self._held_out(one.left_out) for one in sets if one.left_out}

    def predictor(self, family: Family, left_out: Folds) -> Predictor:
        """What `family` learnt from the subjects outside the folds `left_out`."""
        return self._fitted[family, left_out]

    def out_of_fold(self, left_out: Folds) -> np.ndarray:
        """(n, families) links at the horizon of the subjects outside `left_out`, each by a model that saw neither the
        subject's fold nor `left_out`; the other rows are NaN."""
        links = np.full((len(self.subjects.fold), len(self.families)), np.nan)
        for k in set(self.subjects.folds) - left_out:
            rows = self.subjects.fold == k
            links[rows] = self._links[left_out | {k}][rows[~self.subjects.without(left_out | {k})]]
        return links

    def _held_out(self, left_out: Folds) -> np.ndarray:
        """(rows of the folds left out, families) links at the horizon."""
        codes = self.subjects.codes[~self.subjects.without(left_out)]
        blocks = [codes[start : start + _BLOCK] for start in range(0, len(codes), _BLOCK)]
        return np.concatenate([self._link(self.encoders[left_out].encode(block), left_out) for block in blocks])

    def _link(self, encoded: np.ndarray, left_out: Folds) -> np.ndarray:
        links = np.empty((len(encoded), len(self.families)))
        for column, family in enumerate(self.families):
            predictor = self._fitted[family, left_out]
            if self.subjects.outcomes.kind == "binary":
                links[:, column] = predictor.logit(encoded)
            else:
                links[:, column] = predictor.log_cumulative_hazard(encoded, self.subjects.times)[:, 0]
        return np.maximum(links, LOWEST_LINK)


def _thinned(one: TrainingSet, plan: Plan, family: Family) -> Job:
    """The job of a training set, on a sample of its rows where the plan bounds what the family may take."""
    job, most = one.job, plan.final_rows(family, one.job.outcomes.n)
    if job.outcomes.n <= most:
        return job
    rows = stratified_sample(job.outcomes, most, job.seed)
    return replace(job, encoded=job.encoded[rows], outcomes=job.outcomes.take(rows))
