from __future__ import annotations

import pytest
from pydantic import ValidationError

from .cohorts import COLUMNS, changed_column, contract


def test_features_keep_their_order_and_the_canonical_table_follows_the_contract() -> None:
    declared = contract()
    assert [column.name for column in declared.features] == ["age", "marker", "stage", "treated"]
    assert declared.table_columns == (
        "subject_id", "index_date", "age", "marker", "stage", "treated", "time", "event",
    )  # fmt: skip


def test_sensitive_column_that_is_no_feature_is_kept_after_the_features() -> None:
    extra = {
        "name": "ethnicity", "role": "ignored", "dtype": "category", "categories": ["a", "b"], "sensitive": True,
        "reason": "audited, not predicted from",
    }  # fmt: skip
    declared = contract(columns=[extra, *COLUMNS])
    assert declared.table_columns[-3:] == ("ethnicity", "time", "event")
    assert [column.name for column in declared.sensitive] == ["ethnicity", "age"]


def test_digest_changes_with_any_declared_value_and_survives_a_round_trip() -> None:
    declared = contract()
    assert declared.digest == type(declared).model_validate(declared.model_dump(mode="json")).digest
    assert declared.digest != contract(columns=changed_column("age", plausible_range=[0, 111])).digest
    assert declared.digest != contract(bands={"age": [50, 66]}).digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": changed_column("marker", unit="furlong")}, "unit 'furlong' is not known; use one of"),
        ({"columns": changed_column("marker", unit=None)}, "column marker: add `unit`"),
        ({"columns": changed_column("marker", plausible_range=[5, 5])}, "low < high"),
        ({"columns": changed_column("stage", categories=["early"])}, "at least two different values"),
        ({"columns": changed_column("stage", categories=["early", "x"])}, "`recode` leads to"),
        ({"columns": changed_column("site", reason="")}, "role ignored needs a `reason`"),
        ({"columns": changed_column("treated", name="event")}, "the name is reserved"),
        ({"columns": changed_column("treated", name="age")}, "name age appears more than once"),
        ({"columns": changed_column("months", role="feature", available_at=0)}, "add `unit`|add `plausible_range"),
        ({"columns": [c for c in COLUMNS if c["name"] != "status"]}, "1 of role event needed"),
        ({"columns": [c for c in COLUMNS if c["name"] != "patient"]}, "1 of role subject needed"),
        ({"columns": [c for c in COLUMNS if c["role"] != "feature"]}, "at least one column of role feature"),
        ({"columns": changed_column("months", sensitive=True)}, "only a feature or an ignored column"),
        ({"columns": changed_column("treated", dtype="date")}, "a date cannot be a feature"),
        ({"bands": {}}, "bands must name exactly the sensitive numeric columns"),
        ({"bands": {"age": [65, 50]}}, "in increasing order"),
        (
            {"index_date": {"kind": "calendar", "column": "age", "note": "n"}},
            "column of role index_date is 'enrolled'",
        ),
        ({"index_date": {"kind": "nominal", "date": "2000-01-01", "note": "n"}}, "0 of role index_date needed"),
        ({"columns": changed_column("enrolled", dtype="integer")}, "dtype must be date"),
        (
            {"endpoint": {"kind": "survival", "name": "os", "event_rate_band": [0, 1], "decision_threshold": 0.5}},
            "`horizon_days` is required for a survival endpoint",
        ),
        (
            {"endpoint": {"kind": "binary", "name": "x", "event_rate_band": [0.5, 0.1], "decision_threshold": 0.5}},
            "0 <= low < high <= 1",
        ),
    ],
)
def test_contradictions_are_refused_with_the_remedy(changes: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        contract(**changes)
