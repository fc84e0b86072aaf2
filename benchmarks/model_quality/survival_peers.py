"""What an analyst would fit to survival data with scikit-survival and XGBoost, without the platform."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost
from sklearn.model_selection import StratifiedKFold
from sksurv.ensemble import RandomSurvivalForest
from sksurv.linear_model import CoxnetSurvivalAnalysis, CoxPHSurvivalAnalysis
from sksurv.linear_model.coxph import BreslowEstimator
from sksurv.util import Surv

from benchmarks.model_quality.boosting import tuned_booster
from benchmarks.model_quality.design import boosting_design, forest_design, linear_design
from benchmarks.model_quality.task import Forecast, Task
from clinical_assets.modeling.outcomes import Outcomes

RIDGES = (1e-6, 1e-3, 1e-1, 1.0, 10.0)
"""Tried in order: the first at which Newton's method converges. The smallest is no penalty in effect."""
L1_RATIOS = (0.02, 0.5, 1.0)
TREES = 100
FOREST_TIMES = 150
"""Distinct follow-up times a forest distinguishes, the default (`ntime`) of randomForestSRC; it bounds memory."""
FOREST_SETTINGS = tuple((leaf, share) for leaf in (3, 10, 30) for share in ("sqrt", 0.6))
_INNER_FOLDS = 5


def cox(task: Task) -> Forecast:
    """Cox regression on all columns, Efron's ties, no selection and no penalty where it can be estimated without."""
    train, test = linear_design(task)
    for ridge in RIDGES:
        model = CoxPHSurvivalAnalysis(alpha=ridge, ties="efron")
        try:
            model.fit(train, _target(task.outcomes))
        except (ValueError, np.linalg.LinAlgError):
            continue
        if np.isfinite(model.coef_).all():
            survival = model.predict_survival_function(test, return_array=True)
            return _forecast(task, survival, model.unique_times_, {"ridge": ridge})
    raise ValueError(f"Cox regression on {len(train)} subjects and {train.shape[1]} columns diverges at every ridge")


def elastic_net_cox(task: Task) -> Forecast:
    """Elastic-net Cox; penalty and mixture by the cross-validated partial likelihood (Verweij & van Houwelingen 1993;
    Simon et al. 2011), as cv.glmnet does.
    """
    train, test = linear_design(task)
    target = _target(task.outcomes)
    best: tuple[float, float, float] | None = None
    for ratio in L1_RATIOS:
        penalties = CoxnetSurvivalAnalysis(l1_ratio=ratio, n_alphas=50).fit(train, target).alphas_
        gains = _cross_validated_gain(train, task.outcomes, ratio, penalties, task.seed)
        at = int(np.argmax(gains))
        if best is None or gains[at] > best[0]:
            best = (float(gains[at]), ratio, float(penalties[at]))
    assert best is not None
    _, ratio, penalty = best
    model = CoxnetSurvivalAnalysis(l1_ratio=ratio, alphas=[penalty], fit_baseline_model=True).fit(train, target)
    survival = model.predict_survival_function(test, return_array=True)
    used = int(np.count_nonzero(model.coef_))
    return _forecast(task, survival, model.unique_times_, {"l1_ratio": ratio, "penalty": penalty, "columns": used})


def random_survival_forest(task: Task) -> Forecast:
    """scikit-survival's defaults (Ishwaran et al. 2008)."""
    train, test = forest_design(task)
    target = _target(task.outcomes, FOREST_TIMES)
    model = RandomSurvivalForest(TREES, random_state=task.seed, n_jobs=1).fit(train, target)
    return _forest_forecast(task, model, test, {})


def tuned_survival_forest(task: Task) -> Forecast:
    """Leaf size and columns per split by the out-of-bag concordance, then that forest."""
    train, test = forest_design(task)
    target = _target(task.outcomes, FOREST_TIMES)
    forests = [
        RandomSurvivalForest(
            TREES,
            min_samples_split=2 * leaf,
            min_samples_leaf=leaf,
            max_features=share,
            oob_score=True,
            random_state=task.seed,
            n_jobs=1,
        ).fit(train, target)
        for leaf, share in FOREST_SETTINGS
    ]
    best = int(np.argmax([forest.oob_score_ for forest in forests]))
    leaf, share = FOREST_SETTINGS[best]
    return _forest_forecast(task, forests[best], test, {"min_samples_leaf": leaf, "max_features": share})


def xgboost_cox(task: Task) -> Forecast:
    """Boosted trees on the Cox partial likelihood, tuned by cross-validation, with Breslow's baseline."""
    train, test = boosting_design(task)
    time, event = np.maximum(task.outcomes.times(), 1e-6), task.outcomes.flag
    booster, chosen = tuned_booster(
        train, np.where(event, time, -time), event, {"objective": "survival:cox", "base_score": 1.0}, task.seed
    )
    margins = [booster.predict(xgboost.DMatrix(rows), output_margin=True).astype(np.float64) for rows in (train, test)]
    baseline = BreslowEstimator().fit(margins[0], event, time)
    hazard = baseline.cum_baseline_hazard_.y * np.exp(np.clip(margins[1], -30, 30))[:, None]
    return _forecast(task, np.exp(-hazard), baseline.unique_times_, chosen)


def kaplan_meier(task: Task) -> Forecast:
    """The null model: everybody gets the training subjects' curve."""
    from sksurv.nonparametric import kaplan_meier_estimator

    times, curve = kaplan_meier_estimator(task.outcomes.flag, task.outcomes.times())
    return _forecast(task, np.tile(curve, (len(task.test), 1)), times, {})


def _target(outcomes: Outcomes, distinct: int | None = None) -> np.ndarray:
    """scikit-survival's structured array; `distinct` rounds follow-up up to that many quantiles."""
    time = outcomes.times()
    if distinct is not None and len(np.unique(time)) > distinct:
        grid = np.unique(np.quantile(time, np.linspace(0.0, 1.0, distinct + 1)[1:], method="higher"))
        time = grid[np.searchsorted(grid, time)]
    return Surv.from_arrays(outcomes.flag, time)


def _forest_forecast(task: Task, model: RandomSurvivalForest, test: np.ndarray, chosen: dict[str, Any]) -> Forecast:
    survival = model.predict_survival_function(test, return_array=True)
    return _forecast(task, survival, model.unique_times_, chosen)


def _forecast(task: Task, survival: np.ndarray, steps: np.ndarray, chosen: dict[str, Any]) -> Forecast:
    """Read right-continuous curves `survival` (n, len(steps)) at the task's times and at the horizon."""
    assert task.times is not None
    assert task.horizon is not None
    curves = np.column_stack((np.ones(len(survival)), survival))
    at_times = curves[:, np.searchsorted(steps, task.times, side="right")]
    at_horizon = curves[:, np.searchsorted(steps, task.horizon, side="right")]
    return Forecast(1.0 - at_horizon, at_times, chosen)


def _cross_validated_gain(
    rows: np.ndarray, outcomes: Outcomes, ratio: float, penalties: np.ndarray, seed: int
) -> np.ndarray:
    """(len(penalties),) partial likelihood of all less that of the inner training part, summed over the inner folds."""
    splitter = StratifiedKFold(_INNER_FOLDS, shuffle=True, random_state=seed)
    gains = np.zeros(len(penalties))
    for inside, _ in splitter.split(rows, outcomes.flag):
        part = outcomes.take(inside)
        model = CoxnetSurvivalAnalysis(l1_ratio=ratio, alphas=penalties).fit(rows[inside], _target(part))
        whole, own = rows @ model.coef_, rows[inside] @ model.coef_
        reached = len(model.alphas_)  # the path ends early where the fit is saturated
        gains[:reached] += partial_likelihood(whole, outcomes) - partial_likelihood(own, part)
        gains[reached:] = -np.inf
    return gains


def partial_likelihood(scores: np.ndarray, outcomes: Outcomes) -> np.ndarray:
    """(k,) log partial likelihood, Breslow's ties, of `scores` (n, k)."""
    order = np.argsort(-outcomes.times(), kind="stable")
    time, event, sorted_scores = outcomes.times()[order], outcomes.flag[order], scores[order]
    at_risk = np.logaddexp.accumulate(sorted_scores, axis=0)
    last_tied = np.searchsorted(-time, -time, side="right") - 1
    return (sorted_scores - at_risk[last_tied])[event].sum(axis=0)
