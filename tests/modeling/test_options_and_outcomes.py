from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from clinical_assets.catalog import load_catalog
from clinical_assets.modeling.options import ModelOptions
from clinical_assets.modeling.outcomes import Outcomes


def test_families_are_put_in_order_of_complexity() -> None:
    assert ModelOptions(families=("torch", "cox")).families == ("cox", "torch")


@pytest.mark.parametrize(
    ("families", "reason"), [(("xgboost",), "floor"), (("cox", "cox"), "twice"), (("cox", "forest"), "forest")]
)
def test_a_search_without_the_floor_or_with_unknown_families_is_refused(families: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        ModelOptions(families=families)


def test_outcomes_come_from_the_canonical_columns() -> None:
    endpoint = load_catalog()["colon"].contract.endpoint
    frame = pd.DataFrame({"time": [3.0, 5.0], "event": np.array([0, 1], dtype=np.int8)})
    outcomes = Outcomes.from_frame(frame, endpoint)
    assert (outcomes.n, outcomes.events) == (2, 1)
    assert outcomes.take(np.array([1])).times().tolist() == [5.0]
    with pytest.raises(ValueError, match="no column event"):
        Outcomes.from_frame(frame.drop(columns="event"), endpoint)


@pytest.mark.parametrize(
    ("time", "event", "reason"),
    [
        ([-1.0], [1], "negative"),
        ([np.nan], [1], "missing"),
        ([1.0], [2], "neither 0 nor 1"),
        ([1.0], [np.nan], "event"),
    ],
)
def test_impossible_outcomes_are_refused(time: list[float], event: list[float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Outcomes.survival(np.array(time), np.array(event))


def test_a_binary_outcome_has_no_follow_up() -> None:
    with pytest.raises(TypeError, match="no follow-up"):
        Outcomes.binary(np.array([0, 1])).times()
