"""What an analyst would fit to a binary label with scikit-learn and XGBoost, without the platform."""

from __future__ import annotations

import numpy as np
import xgboost
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.metrics import log_loss

from benchmarks.model_quality.boosting import tuned_booster
from benchmarks.model_quality.design import boosting_design, forest_design, linear_design
from benchmarks.model_quality.task import Forecast, Task

STRENGTHS = np.logspace(-3, 2, 16)
TREES = 500
TRIAL_TREES = 200
FOREST_SETTINGS = tuple((leaf, share) for leaf in (1, 3, 10) for share in ("sqrt", 0.6))
_INNER_FOLDS = 5
_EDGE = 1e-6


def logistic(task: Task) -> Forecast:
    """Logistic regression on all columns, without a penalty."""
    train, test = linear_design(task)
    model = LogisticRegression(C=np.inf, max_iter=5000).fit(train, task.outcomes.flag)
    return Forecast(model.predict_proba(test)[:, 1])


def elastic_net_logistic(task: Task) -> Forecast:
    """Ridge or lasso logistic regression; kind and strength by the cross-validated log-loss."""
    train, test = linear_design(task)
    fits = {
        name: LogisticRegressionCV(
            Cs=STRENGTHS,
            cv=_INNER_FOLDS,
            l1_ratios=(ratio,),
            solver=solver,
            scoring="neg_log_loss",
            max_iter=5000,
            use_legacy_attributes=False,
        ).fit(train, task.outcomes.flag)
        for name, ratio, solver in (("ridge", 0.0, "lbfgs"), ("lasso", 1.0, "liblinear"))
    }
    best = max(fits, key=lambda name: fits[name].scores_.mean(axis=0).max())
    return Forecast(fits[best].predict_proba(test)[:, 1], chosen={"penalty": best, "C": float(fits[best].C_)})


def random_forest(task: Task) -> Forecast:
    """scikit-learn's defaults with 500 trees (Breiman 2001)."""
    train, test = forest_design(task)
    model = RandomForestClassifier(TREES, random_state=task.seed, n_jobs=1).fit(train, task.outcomes.flag)
    return Forecast(model.predict_proba(test)[:, 1])


def tuned_forest(task: Task) -> Forecast:
    """Leaf size and columns per split by the out-of-bag log-loss, then that forest."""
    train, test = forest_design(task)
    settings = [{"min_samples_leaf": leaf, "max_features": share} for leaf, share in FOREST_SETTINGS]
    losses = []
    for setting in settings:
        trial = RandomForestClassifier(TRIAL_TREES, **setting, oob_score=True, random_state=task.seed, n_jobs=1)
        risk = trial.fit(train, task.outcomes.flag).oob_decision_function_[:, 1]
        losses.append(log_loss(task.outcomes.flag, np.clip(risk, _EDGE, 1 - _EDGE)))
    chosen = settings[int(np.argmin(losses))]
    model = RandomForestClassifier(TREES, **chosen, random_state=task.seed, n_jobs=1).fit(train, task.outcomes.flag)
    return Forecast(model.predict_proba(test)[:, 1], chosen=chosen)


def xgboost_logistic(task: Task) -> Forecast:
    """Boosted trees on the binomial likelihood, tuned by cross-validation."""
    train, test = boosting_design(task)
    flag = task.outcomes.flag
    objective = {"objective": "binary:logistic", "eval_metric": "logloss"}
    booster, chosen = tuned_booster(train, flag.astype(np.float64), flag, objective, task.seed)
    return Forecast(booster.predict(xgboost.DMatrix(test)).astype(np.float64), chosen=chosen)


def prevalence(task: Task) -> Forecast:
    """The null model: everybody gets the training subjects' share of positives."""
    return Forecast(np.full(len(task.test), task.outcomes.flag.mean()))
