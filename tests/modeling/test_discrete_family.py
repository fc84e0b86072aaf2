"""Person-periods counted by hand, and scikit-learn's own answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from clinical_assets.modeling.curves import kaplan_meier
from clinical_assets.modeling.families import Job, trainer
from clinical_assets.modeling.families.discrete import BOOSTING, PersonPeriods, boosted_trees
from clinical_assets.modeling.outcomes import Outcomes


def test_each_interval_entered_is_one_row() -> None:
    time = np.array([1.0, 2.0, 2.5, 4.0, 4.0, 0.5, 9.0])
    event = np.array([True, True, False, True, False, False, False])
    periods = PersonPeriods.of(Outcomes.survival(np.tile(time, 4), np.tile(event, 4)))
    np.testing.assert_array_equal(periods.breaks, [2.0, 4.0])
    rows = list(zip(periods.subject, periods.interval, periods.event, periods.weight, strict=True))
    assert [row for row in rows if row[0] < 7] == [
        (0, 0, True, 1.0),
        (1, 0, True, 1.0),
        (2, 0, False, 1.0),
        (2, 1, False, 0.25),
        (3, 0, False, 1.0),
        (3, 1, True, 1.0),
        (4, 0, False, 1.0),
        (4, 1, False, 1.0),
        (5, 0, False, 0.25),
        (6, 0, False, 1.0),
        (6, 1, False, 1.0),
    ]


def test_without_any_effect_the_hazards_are_those_of_the_life_table() -> None:
    rng = np.random.default_rng(0)
    outcomes = Outcomes.survival(rng.exponential(size=3000), np.ones(3000))
    predictor = trainer("discrete")([Job(np.zeros((3000, 1)), outcomes, 1.0, 1)])[0]
    survival = np.exp(-np.exp(predictor.log_cumulative_hazard(np.zeros((1, 1)), predictor.breaks[:-1])))[0]
    observed = kaplan_meier(outcomes.time, outcomes.event).at(predictor.breaks[:-1])
    np.testing.assert_allclose(survival, observed, atol=0.005)


def test_an_effect_that_turns_round_is_recovered() -> None:
    rng = np.random.default_rng(1)
    group, periods = rng.choice([-1.0, 1.0], size=20_000), np.arange(8)
    effect = 0.6 - 1.2 * periods / 7.0
    chance = 1.0 / (1.0 + np.exp(1.5 - group[:, None] * effect))
    happened = rng.uniform(size=chance.shape) < chance
    event = happened.any(axis=1)
    time = np.where(event, happened.argmax(axis=1), 7) + 1.0
    job = Job(group[:, None], Outcomes.survival(time, event), 4.0, 1)
    predictor = trainer("discrete")([job])[0]
    above, below = (predictor.score(np.array([[side]]))[0] for side in (1.0, -1.0))
    found, starts = (above - below) / 2.0, [0.0, *predictor.breaks[:-1]]
    intervals = zip(starts, predictor.breaks, strict=True)
    expected = [effect[(periods + 1 > low) & (periods + 1 <= high)].mean() for low, high in intervals]
    np.testing.assert_allclose(found, expected, atol=0.12)
    assert found[0] > 0.3
    assert found[-1] < -0.2


def test_boosted_trees_equal_scikit_learn_on_real_rows(cohort, fitted) -> None:
    data, encoder = cohort("breast_fna"), fitted("breast_fna", "cox").encoder_
    rows = encoder.transform(data.train).astype(np.float32).astype(np.float64)
    boosting = HistGradientBoostingClassifier(**BOOSTING, early_stopping=False, random_state=1)
    boosting.fit(rows, data.outcomes(data.train).flag)
    copied, test = boosted_trees(boosting), encoder.transform(data.test)
    copied.check(rows.shape[1])
    native = boosting.decision_function(test.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(copied(test)[:, 0], native, rtol=0, atol=1e-10)


def test_hazards_equal_the_fitted_regression(censored) -> None:
    from sklearn.linear_model import LogisticRegression

    outcomes, score = censored
    fits: list[LogisticRegression] = []
    original = LogisticRegression.fit

    def remember(self, design, label, weight):
        fits.append(self)
        self.seen_ = design
        return original(self, design, label, weight)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LogisticRegression, "fit", remember)
        predictor = trainer("discrete")([Job(score[:, None], outcomes, 300.0, 1)])[0]
    periods = PersonPeriods.of(outcomes)
    logits = predictor.score(score[:, None])[periods.subject, periods.interval]
    np.testing.assert_allclose(1.0 / (1.0 + np.exp(-logits)), fits[0].predict_proba(fits[0].seen_)[:, 1], atol=1e-10)
