from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_assets.modeling.encoder import Encoder, Feature, features_of

FEATURES = (Feature("age", "number"), Feature("stage", "category", ("I", "II", "III")), Feature("meno", "boolean"))


def table(rows: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    age = rng.normal(60, 10, rows)
    age[:12] = np.nan
    stage = np.array(["I", "II", "III"], dtype=object)[rng.integers(0, 3, rows)]
    stage[3] = None
    return pd.DataFrame({"age": age, "stage": stage, "meno": rng.integers(0, 2, rows).astype(float)})


def test_columns_are_standardised_and_named() -> None:
    encoder = Encoder.fit(FEATURES, table())
    assert encoder.column_names == [
        *("age", "age missing", "stage=I", "stage=II", "stage=III", "stage position", "meno")
    ]
    encoded = encoder.transform(table())
    np.testing.assert_allclose(encoded.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(encoded.std(axis=0), 1.0, atol=1e-12)


def test_a_missing_number_is_encoded_as_the_training_median() -> None:
    encoder = Encoder.fit(FEATURES, table())
    median = float(np.nanmedian(table()["age"]))
    gap, filled = encoder.transform([{"age": value, "stage": "I", "meno": 1.0} for value in (None, median)])
    assert gap[0] == filled[0]
    assert gap[1] > filled[1]


def test_long_tailed_counts_are_logged_and_symmetric_values_are_not() -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"nodes": rng.exponential(4, 300) ** 1.5, "age": rng.uniform(30, 80, 300)})
    encoder = Encoder.fit((Feature("nodes", "number"), Feature("age", "number")), frame)
    assert encoder.log_unit.tolist() == [frame["nodes"].median(), 0.0]
    expected = np.log1p(frame["nodes"] / frame["nodes"].median())
    np.testing.assert_allclose(encoder.transform(frame)[:, 0], (expected - expected.mean()) / expected.std(ddof=0))


def test_the_position_of_a_level_is_its_place_in_the_contract() -> None:
    encoder = Encoder.fit(FEATURES, table())
    position = encoder.column_names.index("stage position")
    rows = [{"age": 50.0, "stage": stage, "meno": 0.0} for stage in ("I", "II", "III")]
    first, second, third = encoder.transform(rows)[:, position]
    assert first < second < third
    assert third - second == pytest.approx(second - first)


def test_columns_that_do_not_vary_are_left_out() -> None:
    frame = table().assign(meno=1.0, age=np.nan, stage="II")
    encoder = Encoder.fit(FEATURES, frame.assign(stage=table()["stage"]))
    assert encoder.column_names == ["stage=I", "stage=II", "stage=III", "stage position"]
    nothing = Encoder.fit(FEATURES, frame)
    np.testing.assert_array_equal(nothing.transform(frame), np.zeros((len(frame), 1)))


def test_a_level_that_training_never_saw_is_no_other_level() -> None:
    frame = table().assign(stage=lambda t: t["stage"].where(t["stage"] != "III", "I"))
    encoder = Encoder.fit(FEATURES, frame)
    seen, unseen = encoder.transform([{"age": 50.0, "stage": stage, "meno": 0.0} for stage in ("I", "III")])
    is_first = encoder.column_names.index("stage=I")
    assert "stage=III" not in encoder.column_names
    assert seen[is_first] > unseen[is_first]


@pytest.mark.parametrize("factor", [10.0, 0.001, 1e-9, 1e9])
def test_the_unit_of_a_number_does_not_matter(factor: float) -> None:
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"nodes": rng.exponential(4, 300) ** 1.5, "age": rng.uniform(30, 80, 300)})
    frame.loc[:20, "nodes"] = np.nan
    features = (Feature("nodes", "number"), Feature("age", "number"))
    other = frame * factor
    np.testing.assert_allclose(
        Encoder.fit(features, other).transform(other), Encoder.fit(features, frame).transform(frame), atol=1e-9
    )


def test_many_rows_are_encoded_as_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder.fit(FEATURES, table())
    whole = encoder.transform(table())
    monkeypatch.setattr("clinical_assets.modeling.encoder._BLOCK", 7)
    monkeypatch.setattr("clinical_assets.modeling.encoder._FEW", 1)
    np.testing.assert_array_equal(encoder.transform(table()), whole)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"age": 1.0, "stage": "IV", "meno": 0}, "'stage': 1 of 1 rows hold a category"),
        ({"age": "old", "stage": "I", "meno": 0}, "'age': not a number"),
        ({"age": np.inf, "stage": "I", "meno": 0}, "'age': 1 infinite"),
        ({"stage": "I"}, "lack the feature column 'age', 'meno'"),
    ],
)
def test_impossible_values_are_named(row: dict[str, object], reason: str) -> None:
    encoder = Encoder.fit(FEATURES, table())
    for rows in ([row], pd.DataFrame([row])):
        with pytest.raises(ValueError, match=reason):
            encoder.transform(rows)


def test_the_state_is_json_and_rebuilds_the_encoder_exactly() -> None:
    encoder = Encoder.fit(FEATURES, table())
    rebuilt = Encoder.from_state(json.loads(json.dumps(encoder.state(), allow_nan=False)))
    np.testing.assert_array_equal(encoder.transform(table()), rebuilt.transform(table()))


def test_the_profile_holds_distributions_and_no_extreme_patient() -> None:
    frame = table().assign(age=lambda t: t["age"].where(t.index != 30, 117.0))
    profile = Encoder.fit(FEATURES, frame).profile
    assert max(profile["age"]["quantiles"]) < 117.0
    assert profile["age"]["missing"] == pytest.approx(0.2)
    assert sum(profile["stage"]["frequencies"]) == pytest.approx(1.0)


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(["age", "stage", "meno", "other"]), rows=st.lists(st.integers(0, 59), min_size=1))
def test_rows_are_encoded_independently_of_column_order_and_company(order: list[str], rows: list[int]) -> None:
    encoder = Encoder.fit(FEATURES, table())
    whole = encoder.transform(table())
    part = table().assign(other="x")[order].iloc[rows]
    np.testing.assert_array_equal(encoder.transform(part), whole[rows])


def test_levels_come_from_the_contract(cohort) -> None:
    features = features_of(cohort("colon").contract)
    assert [f.levels for f in features if f.name == "rx"] == [("Obs", "Lev", "Lev+5FU")]
