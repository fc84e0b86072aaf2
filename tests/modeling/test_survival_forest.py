"""The copied forest answers as scikit-survival's own does."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from clinical_assets.modeling.families import survival_forest
from clinical_assets.modeling.families.survival_forest import TIMES, grow, hazards_of, rounded


@pytest.mark.parametrize("slug", ["colon", "lung_advanced"])
def test_hazards_equal_those_of_scikit_survival_on_real_rows(slug: str, cohort, fitted) -> None:
    data, encoder = cohort(slug), fitted(slug, "cox").encoder_
    forest = grow(encoder.transform(data.train), data.outcomes(data.train), seed=7)
    copied, rows = hazards_of(forest), encoder.transform(data.test)
    copied.check(rows.shape[1])
    expected = forest.predict_cumulative_hazard_function(rows, return_array=True)
    hazard = np.exp(copied.log_cumulative_hazard(rows, forest.unique_times_))
    np.testing.assert_allclose(hazard, expected, rtol=0, atol=1e-8)
    at_events = hazard[:, forest.estimators_[0].is_event_time_]
    np.testing.assert_allclose(at_events.sum(axis=1), forest.predict(rows), rtol=1e-8)


def test_times_are_moved_up_to_few_quantiles() -> None:
    time = np.random.default_rng(0).exponential(size=2000)
    moved = rounded(time)
    assert len(np.unique(moved)) <= TIMES
    assert (moved >= time).all()
    assert moved.max() == time.max()
    few = np.arange(1.0, 50.0)
    np.testing.assert_array_equal(rounded(few), few)


def test_without_the_package_the_message_says_what_to_install(censored, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes, score = censored
    monkeypatch.setitem(sys.modules, "sksurv.ensemble", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'clinical-assets\[gpl-data\]'"):
        survival_forest.grow(score[:, None], outcomes, seed=1)
