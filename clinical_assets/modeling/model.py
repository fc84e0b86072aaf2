"""A fitted model of any family: encoder, predictor, recalibration. numpy evaluates all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import expit

from clinical_assets.modeling.calibration import Recalibration
from clinical_assets.modeling.determinism import single_thread
from clinical_assets.modeling.encoder import Encoder, Feature
from clinical_assets.modeling.options import Family
from clinical_assets.modeling.outcomes import Kind, Outcomes
from clinical_assets.modeling.predictors import Predictor

Rows = pd.DataFrame | Sequence[Mapping[str, Any]]

TITLES = {
    ("cox", "survival"): "penalised Cox",
    ("cox", "binary"): "penalised logistic",
    ("discrete", "survival"): "discrete-time hazards",
    ("discrete", "binary"): "boosted logistic",
    ("xgboost", "survival"): "XGBoost survival trees",
    ("xgboost", "binary"): "XGBoost classification trees",
    ("torch", "survival"): "neural Cox",
    ("torch", "binary"): "neural logistic",
    ("rsf", "survival"): "random survival forest",
    ("rsf", "binary"): "random forest",
    ("stack", "survival"): "pooled hazards",
    ("stack", "binary"): "pooled odds",
}


class FamilyModel:
    """A `RiskModel`: constructor stores parameters only, `fit` learns the attributes that end in an underscore.

    Args:
        family: a key of `families.TRAINERS`.
        features: model inputs, in contract order.
        kind: survival or binary.
        seed: for inner folds and initial weights.
        horizon: days at which `recalibration` acts, None for a binary endpoint.
    """

    encoder_: Encoder
    predictor_: Predictor

    def __init__(
        self,
        family: Family,
        features: Sequence[Feature],
        kind: Kind,
        seed: int,
        horizon: float | None,
        recalibration: Recalibration | None = None,
    ) -> None:
        self.family: Family = family
        self.features = tuple(features)
        self.kind: Kind = kind
        self.seed = seed
        self.horizon = horizon
        self.recalibration = recalibration or Recalibration("cloglog" if kind == "survival" else "logit")
        self.name = TITLES[family, kind]

    def fit(self, X: pd.DataFrame, y: Outcomes) -> Self:
        """Learn from (n, features) `X` by name and (n,) `y`.

        Raises:
            ValueError: the outcome is of another kind, or the rows do not match.
        """
        from clinical_assets.modeling.families import Job, trainer

        if y.kind != self.kind:
            raise ValueError(f"{self.name} learns {self.kind} outcomes, got {y.kind}")
        if len(X) != y.n:
            raise ValueError(f"{self.name}: {len(X)} rows of features, {y.n} outcomes")
        with single_thread():
            if self.family == "stack":
                return self._pooled(X, y)
            self.encoder_ = Encoder.fit(self.features, X)
            job = Job(self.encoder_.transform(X), y, self.horizon, self.seed)
            self.predictor_ = trainer(self.family)([job])[0]
        return self

    def _pooled(self, X: pd.DataFrame, y: Outcomes) -> Self:
        """The default families, pooled with the weights that their out-of-fold predictions give."""
        from clinical_assets.modeling.options import ModelOptions
        from clinical_assets.modeling.selection import Procedure

        options = ModelOptions()
        search = Procedure(self.features, options.families, self.kind, self.horizon, self.seed, options.device)
        pool = search.train(X, y, options.folds, nested=False).pool()
        self.encoder_, self.predictor_ = pool.encoder_, pool.predictor_
        return self

    def recalibrated(self, recalibration: Recalibration) -> FamilyModel:
        """The same fit under another recalibration."""
        other = FamilyModel(self.family, self.features, self.kind, self.seed, self.horizon, recalibration)
        other.encoder_, other.predictor_ = self.encoder_, self.predictor_
        return other

    def risk(self, X: Rows, horizon: float | None) -> np.ndarray:
        """(n,) risk by `horizon` days (survival), or of the label (binary, where the horizon is ignored).

        Raises:
            ValueError: a survival model was asked without a horizon.
        """
        if self.kind == "binary":
            return self.recalibration.risk(expit(self.predictor_.logit(self.encoder_.transform(X))))
        if horizon is None:
            raise ValueError(f"{self.name}: a survival risk needs a horizon in days")
        return -np.expm1(-self._cumulative_hazard(X, np.array([float(horizon)]))[:, 0])

    def survival(self, X: Rows, times: np.ndarray) -> np.ndarray:
        """(n, len(times)) survival probabilities; flat after the last training event.

        Raises:
            TypeError: the endpoint is binary.
        """
        if self.kind == "binary":
            raise TypeError(f"{self.name} predicts a label; it has no survival curve")
        return np.exp(-self._cumulative_hazard(X, np.asarray(times, dtype=np.float64)))

    def _cumulative_hazard(self, X: Rows, times: np.ndarray) -> np.ndarray:
        assert self.horizon is not None
        encoded = self.encoder_.transform(X)
        link = self.predictor_.log_cumulative_hazard(encoded, times)
        if self.recalibration.changes_nothing:
            return np.exp(link)
        alone = len(times) == 1 and times[0] == self.horizon
        at_horizon = link if alone else self.predictor_.log_cumulative_hazard(encoded, np.array([self.horizon]))
        return np.exp(link + self.recalibration.hazard_shift(at_horizon))
