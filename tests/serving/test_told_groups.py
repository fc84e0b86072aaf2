"""The groups that a request tells are those whose missed cases the rollout compares."""

from __future__ import annotations

import pytest

from clinical_assets.catalog import load_catalog
from clinical_assets.modeling.card import FeatureCard
from clinical_assets.rollout_plan import groups_of
from clinical_assets.serving.told_groups import groups_told


def _card(*features: tuple[str, str, bool]):
    made = [
        FeatureCard(
            name=name, dtype=dtype, unit=None, plausible_range=None, categories=None, max_missing=1.0,
            sensitive=sensitive, description="",
        )
        for name, dtype, sensitive in features
    ]  # fmt: skip
    return type("Card", (), {"features": tuple(made)})()


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"sex": "female", "married": 1.0, "age": 63.0, "stage": "II"}, ("sex=female", "married=yes")),
        ({"sex": None, "married": 0.0, "age": None, "stage": "II"}, ("sex=not reported", "married=no")),
    ],
)
def test_categories_of_sensitive_features_are_told_and_ages_are_not(row: dict, told: tuple[str, ...]) -> None:
    card = _card(
        ("sex", "category", True), ("married", "boolean", True), ("age", "number", True), ("stage", "category", False)
    )
    assert groups_told(row, card) == told


def test_every_group_of_a_real_cancer_type_can_be_logged() -> None:
    for cancer in load_catalog().values():
        joined = ";".join(groups_of(cancer))
        assert joined.count(";") == max(0, len(groups_of(cancer)) - 1), f"{cancer.slug}: a category holds the separator"
