"""Bad input gets a reason that names the column, never a score, and never its own value back."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from clinical_assets.modeling.card import ModelCard, describe
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.serving.client import tensors
from clinical_assets.serving.input_validation import MAX_ROWS, InvalidInput, parse_json, rows_of
from tests.serving.conftest import CANCER, CONTRACT, ROW


@pytest.fixture(scope="module")
def card(models: tuple[FamilyModel, FamilyModel]) -> ModelCard:
    return describe(models[0], CONTRACT, CANCER, {})


def request(**changes: Any) -> dict[str, Any]:
    return {"inputs": tensors([{**ROW, **changes}])}


def with_tensor(name: str, **changes: Any) -> dict[str, Any]:
    document = copy.deepcopy(request())
    next(tensor for tensor in document["inputs"] if tensor["name"] == name).update(changes)
    return document


def test_good_rows_come_out_with_the_contracts_names_and_types(card: ModelCard) -> None:
    rows = [ROW, {**ROW, "nodes": None, "grade": None, "obstruct": 1.0}]
    assert rows_of({"inputs": tensors(rows)}, card) == rows
    shuffled = {"inputs": list(reversed(tensors(rows)))}
    assert rows_of(shuffled, card) == rows
    assert rows_of(with_tensor("obstruct", datatype="BOOL", data=[True]), card) == [{**ROW, "obstruct": 1.0}]
    assert rows_of(with_tensor("nodes", datatype="INT64", data=[4], shape=[1, 1]), card) == [ROW]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (request(age="63"), "age holds a number"),
        (with_tensor("age", data=["63"]), "age holds a number: send a number, not text"),
        (with_tensor("age", data=[True]), "not true or false"),
        (request(age=230.0), "age: outside the plausible range 18 to 110 year; check the unit"),
        (request(nodes=2.5), "nodes holds whole numbers"),
        (request(obstruct=2.0), "obstruct holds a boolean"),
        (request(grade="G9-secret"), "grade: unknown category; allowed: well, moderate, poor"),
        (with_tensor("grade", datatype="FP64", data=[1.0]), "grade holds a category"),
        (with_tensor("grade", data=[1.0]), "grade holds a category: send text"),
        (request(age=None), "age may not be missing"),
        ({"inputs": [t for t in request()["inputs"] if t["name"] != "nodes"]}, "missing column nodes"),
        (request(smoker=1.0), "column smoker is not in the contract"),
        ({"inputs": request()["inputs"] * 2}, "given twice"),
        (with_tensor("age", data=[63.0, 64.0], shape=[2]), "same number of rows"),
        (with_tensor("age", shape=[2]), "shape its length"),
        (with_tensor("age", data="63"), "must be a list"),
        ({"inputs": []}, "inputs"),
        ({}, "inputs"),
        ([], "inputs"),
        ({"inputs": ["age"]}, "each input needs"),
        ({"inputs": tensors([ROW] * (MAX_ROWS + 1))}, f"1 to {MAX_ROWS} rows"),
        ({"inputs": [{**t, "data": [], "shape": [0]} for t in request()["inputs"]]}, "1 to 64 rows"),
        (with_tensor("age", data=[10**400]), "not finite"),
    ],
)
def test_bad_input_is_refused_with_the_reason(card: ModelCard, document: Any, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as caught:
        rows_of(document, card)
    assert caught.value.status in (400, 422)
    assert not any(secret in str(caught.value) for secret in ("230", "2.5", "secret", "63"))


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_not_json(literal: str) -> None:
    with pytest.raises(InvalidInput, match="not a JSON number"):
        parse_json(json.dumps(request()).replace("63.0", literal).encode())


def test_an_overflowing_literal_is_refused(card: ModelCard) -> None:
    document = parse_json(json.dumps(request()).replace("63.0", "1e999").encode())
    with pytest.raises(InvalidInput, match="age: the number is not finite"):
        rows_of(document, card)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput, match="not valid JSON"):
        parse_json(body)
