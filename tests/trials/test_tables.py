"""Schema, feature table and sensitive groups of a canonical table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pandera.errors
import pytest

from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.features_table import feature_table
from clinical_assets.trials.group_names import band_labels
from clinical_assets.trials.groups import NOT_REPORTED, sensitive_groups
from clinical_assets.trials.schema import pandera_schema
from clinical_assets.trials.snapshot import SnapshotStore, ingest

from .cohorts import changed_column, contract, source


@pytest.fixture
def table(tmp_path: Path) -> pd.DataFrame:
    return ingest("tiny", source(tmp_path), contract(), SnapshotStore(tmp_path)).read()


def test_schema_accepts_a_table_that_keeps_the_contract(table: pd.DataFrame) -> None:
    pandera_schema(contract()).validate(table, lazy=True)


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("age", 111.0, "within 0 to 110 year"),
        ("age", 50.5, "a whole number"),
        ("marker", -1.0, "within 0 to 500 ng/mL"),
        ("stage", "middle", "one of early, late"),
        ("treated", 2.0, "0 or 1"),
        ("event", 2, "0 or 1"),
        ("time", 0.0, "greater than 0 days"),
        ("subject_id", "007", "field_uniqueness"),
    ],
)
def test_schema_names_the_column_and_the_broken_rule(
    table: pd.DataFrame, column: str, value: object, rule: str
) -> None:
    table.loc[0, column] = value
    with pytest.raises(pandera.errors.SchemaErrors) as error:
        pandera_schema(contract()).validate(table, lazy=True)
    cases = error.value.failure_cases
    assert set(cases["column"]) == {column}
    assert rule in set(cases["check"])


def test_missing_values_are_a_deviation_only_where_none_may_be_missing(table: pd.DataFrame) -> None:
    table.loc[0, "age"] = np.nan
    pandera_schema(contract()).validate(table, lazy=True)
    never = contract(columns=changed_column("age", max_missing=0))
    with pytest.raises(pandera.errors.SchemaErrors, match="age"):
        pandera_schema(never).validate(table, lazy=True)


def test_schema_is_strict_about_names_order_and_types(table: pd.DataFrame) -> None:
    swapped = table[[*table.columns[:2], *table.columns[3:1:-1], *table.columns[4:]]]
    for wrong in (table.assign(extra=1.0), table.drop(columns="age"), swapped, table.astype({"age": "float32"})):
        with pytest.raises(pandera.errors.SchemaErrors):
            pandera_schema(contract()).validate(wrong, lazy=True)


def test_feature_table_carries_the_moment_the_last_feature_became_known(table: pd.DataFrame) -> None:
    features = feature_table(table, contract())
    assert list(features.columns) == [
        "subject_id", "index_date", "available_at", "age", "marker", "stage", "treated",
    ]  # fmt: skip
    assert features["available_at"].equals(table["index_date"])
    earlier = [{**column, "available_at": -7} for column in changed_column("age") if column["role"] == "feature"]
    others = [column for column in changed_column("age") if column["role"] != "feature"]
    features = feature_table(table, contract(columns=[*earlier, *others]))
    assert (table["index_date"] - features["available_at"]).eq(pd.Timedelta(days=7)).all()


def test_feature_known_only_after_the_index_date_is_withheld(table: pd.DataFrame) -> None:
    features = feature_table(table, contract(columns=changed_column("stage", available_at=30)))
    assert features["stage"].isna().all()
    assert features["age"].equals(table["age"])
    assert features["available_at"].equals(table["index_date"])


def test_feature_table_refuses_a_table_of_another_structure(table: pd.DataFrame) -> None:
    with pytest.raises(ContractError, match="table of 3 rows: columns marker are missing"):
        feature_table(table.drop(columns="marker"), contract())
    with pytest.raises(ContractError, match="columns age do not have the contract's type"):
        feature_table(table.assign(age="old"), contract())


def test_groups_leave_nobody_out(table: pd.DataFrame) -> None:
    table.loc[1, "age"] = np.nan
    assert sensitive_groups(table, contract())["age"].tolist() == [">=65", NOT_REPORTED, "<50"]


def test_group_edges_belong_to_the_upper_band(table: pd.DataFrame) -> None:
    table["age"] = [49.0, 50.0, 65.0]
    assert sensitive_groups(table, contract())["age"].tolist() == ["<50", "50-64", ">=65"]
    assert band_labels([-10, 10], whole=False) == ("<-10", "-10 to <10", ">=10")


def test_categories_and_booleans_are_groups_too(table: pd.DataFrame) -> None:
    columns = [
        {**column, "sensitive": True} if column["name"] in ("stage", "treated") else column
        for column in changed_column("age")
    ]
    table.loc[0, "stage"] = None
    table.loc[1, "stage"] = "unlisted"
    groups = sensitive_groups(table, contract(columns=columns))
    assert groups["stage"].tolist() == [NOT_REPORTED, "unlisted", "late"]
    assert groups["treated"].tolist() == ["yes", "yes", "no"]
