"""What a draft makes of columns, and what it never writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinical_assets.catalog import load_catalog
from clinical_assets.drafting.errors import DraftError
from clinical_assets.trials.placeholder import TO_BE_COMPLETED

from .drafts import SMALL, column, columns, csv, run, small, written


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["yes", "no"], {"dtype": "boolean", "recode": {"no": 0, "yes": 1}}),
        (["TRUE", "FALSE"], {"dtype": "boolean", "recode": None}),
        (["1", "2"], {"dtype": "category", "categories": ("1", "2")}),
        (["007", "012", "100"], {"dtype": "category", "categories": ("007", "012", "100")}),
        (["1", "2", "3"], {"dtype": "integer", "unit": TO_BE_COMPLETED, "plausible_range": (0, 5)}),
        (["0.5", "-1.5", "2"], {"dtype": "number", "plausible_range": (-5, 5)}),
        (["low", "high", "N/A"], {"dtype": "category", "categories": ("high", "low")}),
        (["1.5", ".", "2.5", "3.5"], {"dtype": "number", "plausible_range": (0, 10)}),
    ],
)
def test_types(values: list[str], expected: dict[str, Any], tmp_path: Path) -> None:
    frame = small(marker=(values * 60)[:60])
    found = column(written("mine", csv(frame, tmp_path / "a.csv"), *SMALL), "marker").model_dump()
    assert {key: found[key] for key in expected} == expected


@pytest.mark.parametrize(
    ("name", "values", "role", "reason"),
    [
        ("centre", ["one"] * 60, "ignored", "Constant"),
        ("nothing", [""] * 60, "ignored", "Empty"),
        ("phone_no", [f"{number:010d}" for number in range(60)], "ignored", "Named like an identifier (phone)"),
        ("contact", [f"p{number}@example.org" for number in range(60)], "ignored", "Values look like identifiers"),
        ("remark", [f"seen by doctor {number}" for number in range(60)], "ignored", "60 different texts"),
        ("visit", ["2001-03-01", "2002-04-05"] * 30, "ignored", "A date"),
        ("row_no", list(range(60)), "ignored", "A different number in every row"),
        ("best response", ["CR", "PD"] * 30, "post_baseline", "Named after something that is learnt later"),
        ("OS.time", list(range(60)), "post_baseline", "Named after something that is learnt later (os)"),
    ],
)
def test_columns_that_are_no_features(name: str, values: list[Any], role: str, reason: str, tmp_path: Path) -> None:
    cancer = written("mine", csv(small(**{name: values}), tmp_path / "a.csv"), *SMALL)
    found = next(column for column in cancer.contract.columns if column.source_name == name)
    assert found.role == role
    assert found.reason.startswith(reason)


def test_a_column_that_gives_the_outcome_away_is_left_out_whatever_its_name(tmp_path: Path) -> None:
    frame = small()
    frame["harmless"] = np.where(frame["died"] == 1, frame["months"], 500.0)
    result = run("mine", "--from", str(csv(frame, tmp_path / "a.csv")), *SMALL)
    assert "suspected leak: harmless (AUC 1.00) is left out as post-baseline" in result.output
    assert "harmless" in columns(load_catalog()["mine"], "post_baseline")


def test_missing_values_are_allowed_for_with_room(tmp_path: Path) -> None:
    frame = small(marker=[None] * 18 + [1.5] * 20 + [2.5] * 22)
    cancer = written("mine", csv(frame, tmp_path / "a.csv"), *SMALL)
    assert column(cancer, "marker").max_missing == 0.35
    assert "# 30% missing" in (tmp_path / "configs" / "cancers" / "mine.yaml").read_text()


def test_patients_without_outcome_or_follow_up_are_left_out_by_a_declared_rule(tmp_path: Path) -> None:
    frame = small()
    frame.loc[:2, "months"] = 0
    frame["died"] = frame["died"].astype(object)
    frame.loc[50:, "died"] = None
    result = run("mine", "--from", str(csv(frame, tmp_path / "a.csv")), *SMALL)
    assert "10 of 60 have no outcome" in result.output
    source = load_catalog()["mine"].source
    assert (source.require, source.above) == (("died",), {"months": 0})


@pytest.mark.parametrize(
    ("codes", "options", "recode"),
    [
        (["alive", "dead"], (), {"alive": 0, "dead": 1}),
        (["0:LIVING", "1:DECEASED"], (), {"0:LIVING": 0, "1:DECEASED": 1}),
        (["1", "2"], (), {"1": 0, "2": 1}),
        (["0", "1"], (), None),
        (["A", "B"], ("--event-value", "A"), {"A": 1, "B": 0}),
        (["0", "1", "2"], ("--event-value", "1", "--event-value", "2"), {"0": 0, "1": 1, "2": 1}),
    ],
)
def test_event_coding(
    codes: list[str], options: tuple[str, ...], recode: dict[str, int] | None, tmp_path: Path
) -> None:
    frame = small(died=(codes * 30)[:60])
    cancer = written("mine", csv(frame, tmp_path / "a.csv"), *SMALL, *options)
    assert column(cancer, "died").recode == recode


def test_cnsr_is_read_as_adam_means_it(tmp_path: Path) -> None:
    frame = small(CNSR=[0, 1, 2] * 20).drop(columns="died")
    options = ("--time", "months", "--event", "CNSR", "--time-unit", "months")
    cancer = written("mine", csv(frame, tmp_path / "a.csv"), *options)
    assert column(cancer, "cnsr").recode == {"0": 1, "1": 0, "2": 0}


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8"), ("\t", "utf-8"), (",", "latin-1")])
def test_separator_and_encoding_of_text(separator: str, encoding: str, tmp_path: Path) -> None:
    frame = small(clinic=["Köln", "Zürich", "Basel"] * 20)
    file = csv(frame, tmp_path / "a.csv", sep=separator, encoding=encoding)
    assert column(written("mine", file, *SMALL), "clinic").categories == ("Basel", "Köln", "Zürich")


def test_names_that_no_contract_allows_are_renamed_and_stay_apart(tmp_path: Path) -> None:
    frame = small(**{"PSA (ng/mL)": range(60), "psa_ng_ml": range(60), "2nd": range(60), "event": [1, 2, 3] * 20})
    cancer = written("mine", csv(frame, tmp_path / "a.csv"), *SMALL)
    named = {column.source_name: column.name for column in cancer.contract.columns}
    assert named["PSA (ng/mL)"] == "psa_ng_ml"
    assert named["psa_ng_ml"] == "psa_ng_ml_2"
    assert named["2nd"] == "column_2nd"
    assert named["event"] == "event_value"


def test_no_value_of_a_patient_is_written_or_shown(tmp_path: Path) -> None:
    frame = small(
        mrn=[f"{number:08d}" for number in range(71_000_000, 71_000_060)],
        note=[f"Mrs Miller, room {number}" for number in range(60)],
        seen=pd.date_range("2001-02-03", periods=60).strftime("%Y-%m-%d"),
    )
    result = run("mine", "--from", str(csv(frame, tmp_path / "a.csv")), *SMALL)
    assert result.exit_code == 0
    text = (tmp_path / "configs" / "cancers" / "mine.yaml").read_text()
    for name in ("patient_id", "mrn", "note", "seen", "psa", "months"):
        values = set(frame[name].astype(str))
        assert [value for value in values if value in text or value in result.output] == [], name
    bounds = [bound for feature in load_catalog()["mine"].contract.features for bound in feature.plausible_range or ()]
    assert not {frame["psa"].max(), frame["psa"].min(), frame["age"].max(), frame["age"].min()} & set(bounds)


def test_an_error_about_the_outcome_shows_no_list_of_values(tmp_path: Path) -> None:
    result = run("mine", "--from", str(csv(small(), tmp_path / "a.csv")), "--time", "months", "--event", "patient_id")
    assert isinstance(result.exception, DraftError)
    assert "P-0" not in str(result.exception)
