"""Hazards per interval of time by scikit-learn: logistic regression on person-periods (Singer & Willett 1993).

Every column has an effect that is the same in all intervals and one that changes steadily with time, which is held
much tighter: hazards need not be proportional, and mostly are. A binary endpoint is one interval without time, where
only boosted trees would add to the floor, so these are grown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clinical_assets.modeling.families import Job
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.predictors import DiscreteHazards, LogOdds, Predictor
from clinical_assets.modeling.scores import LinearScore
from clinical_assets.modeling.trees import Trees, TreeScore, at_most, side_by_side

INTERVALS = 8
EVENTS_PER_INTERVAL = 5
PENALTY = 0.1
"""Per event, on the effect of a standardised column, as in family cox."""
CHANGE_RIDGE = 1000.0
"""On its change over one standard deviation of the intervals, however many events: only many can speak against it."""
LEVEL_PENALTY = 0.001
"""Per event, on the level of each interval."""
BOOSTING = {"max_iter": 80, "learning_rate": 0.06, "max_depth": 3, "min_samples_leaf": 20, "l2_regularization": 1.0}


def train(jobs: Sequence[Job]) -> list[Predictor]:
    """One model per training set."""
    return [_boosted(job) if job.outcomes.kind == "binary" else _hazards(job) for job in jobs]


@dataclass(frozen=True)
class PersonPeriods:
    """One row per subject and interval entered: who, which interval, whether the event happened in it, and how much
    the row counts. Intervals end at `breaks` (k,), quantiles of the event times.

    Who is censored inside an interval counts by the share of it that was seen, as in an actuarial life table.
    """

    subject: np.ndarray
    interval: np.ndarray
    event: np.ndarray
    weight: np.ndarray
    breaks: np.ndarray

    @classmethod
    def of(cls, outcomes: Outcomes) -> PersonPeriods:
        time, event = outcomes.times(), outcomes.flag
        count = int(np.clip(outcomes.events // EVENTS_PER_INTERVAL, 1, INTERVALS))
        quantiles = np.quantile(time[event], np.linspace(0.0, 1.0, count + 1)[1:], method="higher")
        breaks = np.unique(np.maximum(quantiles, np.finfo(np.float64).tiny))
        entered = np.minimum(np.searchsorted(breaks, time, side="left") + 1, len(breaks))
        subject = np.repeat(np.arange(outcomes.n), entered)
        interval = np.arange(len(subject)) - np.repeat(np.cumsum(entered) - entered, entered)
        happened = event[subject] & (interval == entered[subject] - 1)
        start = np.concatenate(([0.0], breaks[:-1]))[interval]
        seen = np.minimum((time[subject] - start) / (breaks[interval] - start), 1.0)
        return cls(subject, interval, happened, np.where(happened, 1.0, seen), breaks)


def _hazards(job: Job) -> DiscreteHazards:
    """Penalties are told to scikit-learn, which has one for all columns, by the scale of the columns."""
    from sklearn.linear_model import LogisticRegression

    periods = PersonPeriods.of(job.outcomes)
    count, events = len(periods.breaks), job.outcomes.events
    spread = max(float(periods.interval.std()), 1.0)
    when = (np.arange(count) - periods.interval.mean()) / spread
    level, change = np.sqrt(PENALTY / LEVEL_PENALTY), np.sqrt(PENALTY * events / CHANGE_RIDGE)
    rows = job.encoded[periods.subject]
    design = np.column_stack(
        (level * np.eye(count)[periods.interval], rows, change * rows * when[periods.interval, None])
    )
    fit = LogisticRegression(C=1.0 / (PENALTY * events), fit_intercept=False, max_iter=1000, tol=1e-6)
    beta = fit.fit(design, periods.event, periods.weight).coef_[0]
    width = job.encoded.shape[1]
    levels, effects, changes = np.split(beta, [count, count + width])
    coefficients = effects[:, None] + change * changes[:, None] * when
    return DiscreteHazards(LinearScore(coefficients, level * levels), periods.breaks)


def _boosted(job: Job) -> LogOdds:
    from sklearn.ensemble import HistGradientBoostingClassifier

    boosting = HistGradientBoostingClassifier(**BOOSTING, early_stopping=False, random_state=job.seed)
    return LogOdds(boosted_trees(boosting.fit(_narrow(job.encoded), job.outcomes.flag)))


def boosted_trees(fitted: Any) -> TreeScore:
    """The margin of a fitted `HistGradientBoostingClassifier` of two classes."""
    grown = [predictor.nodes for (predictor,) in fitted._predictors]
    leaf = np.concatenate([np.where(nodes["is_leaf"], nodes["value"], 0.0) for nodes in grown])
    return TreeScore(side_by_side([_trees(nodes) for nodes in grown]), leaf[:, None], fitted._baseline_prediction[0])


def _trees(nodes: np.ndarray) -> Trees:
    own, is_leaf = np.arange(len(nodes), dtype=np.int32), nodes["is_leaf"].astype(bool)
    return Trees(
        roots=own[:1],
        feature=np.where(is_leaf, 0, nodes["feature_idx"]),
        threshold=np.where(is_leaf, np.float32(0.0), at_most(nodes["num_threshold"])),
        left=np.where(is_leaf, own, nodes["left"]),
        right=np.where(is_leaf, own, nodes["right"]),
    )


def _narrow(encoded: np.ndarray) -> np.ndarray:
    """Values that float32 can hold, as the stored trees compare them."""
    return encoded.astype(np.float32).astype(np.float64)
