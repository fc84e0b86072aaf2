"""From an Open Inference Protocol v2 request to rows that the model's contract allows. A bad value never gets a score.

Reasons name the column and the rule, never the value: responses and logs must not repeat patients' data.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from clinical_assets.modeling.card import FeatureCard, ModelCard

MAX_BODY_BYTES = 1 << 20
MAX_ROWS = 64
_FLOATS = frozenset({"FP16", "FP32", "FP64"})
_WHOLE = frozenset({f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)})
_NUMERIC = _FLOATS | _WHOLE
DATATYPES = {
    "number": _NUMERIC,
    "integer": _NUMERIC,
    "boolean": _NUMERIC | {"BOOL"},
    "category": frozenset({"BYTES"}),
}
Row = dict[str, float | str | None]


class InvalidInput(ValueError):
    """The request cannot be scored. `status`: 400 for a malformed request, 422 for values outside the contract."""

    def __init__(self, reason: str, status: int = 422) -> None:
        super().__init__(reason)
        self.status = status


def parse_json(body: bytes) -> Any:
    """JSON as the standard defines it: `NaN` and `Infinity` are refused.

    Raises:
        InvalidInput: not JSON.
    """

    def refuse(constant: str) -> NoReturn:
        raise InvalidInput(f"{constant} is not a JSON number; send null for a missing value", 400)

    try:
        return json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise InvalidInput("the body is not valid JSON", 400) from error


def rows_of(request: Any, card: ModelCard) -> list[Row]:
    """One row for each element of the input tensors, with the contract's feature names.

    Raises:
        InvalidInput: see the class.
    """
    tensors = _tensors(request)
    expected = card.feature_names
    if missing := [name for name in expected if name not in tensors]:
        raise InvalidInput(f"missing column {', '.join(missing)}")
    if extra := sorted(tensors.keys() - set(expected)):
        raise InvalidInput(f"column {', '.join(extra)} is not in the contract; it takes {', '.join(expected)}")
    rows = {len(tensor["data"]) for tensor in tensors.values()}
    if len(rows) != 1:
        raise InvalidInput("all columns must have the same number of rows", 400)
    count = rows.pop()
    if not 1 <= count <= MAX_ROWS:
        raise InvalidInput(f"a request holds 1 to {MAX_ROWS} rows of one patient, not {count}", 400)
    columns = {feature.name: _column(feature, tensors[feature.name]) for feature in card.features}
    return [{name: values[index] for name, values in columns.items()} for index in range(count)]


def _tensors(request: Any) -> dict[str, dict[str, Any]]:
    inputs = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(inputs, list) or not inputs:
        raise InvalidInput('the body needs "inputs": one tensor per feature column', 400)
    tensors: dict[str, dict[str, Any]] = {}
    for tensor in inputs:
        if not isinstance(tensor, dict) or not isinstance(tensor.get("name"), str):
            raise InvalidInput("each input needs a name, shape, datatype and data", 400)
        name, data, shape = tensor["name"], tensor.get("data"), tensor.get("shape")
        if name in tensors:
            raise InvalidInput(f"column {name} is given twice", 400)
        if not isinstance(data, list) or shape not in ([len(data)], [len(data), 1]):
            raise InvalidInput(f"column {name}: data must be a list, and shape its length", 400)
        tensors[name] = tensor
    return tensors


def _column(feature: FeatureCard, tensor: dict[str, Any]) -> list[float | str | None]:
    data = tensor["data"]
    if any(value is not None for value in data) and tensor.get("datatype") not in DATATYPES[feature.dtype]:
        allowed = ", ".join(sorted(DATATYPES[feature.dtype]))
        raise InvalidInput(f"column {feature.name} holds a {feature.dtype}: datatype must be one of {allowed}")
    return [_value(feature, value) for value in data]


def _value(feature: FeatureCard, value: Any) -> float | str | None:
    if value is None:
        if feature.max_missing > 0:
            return None
        raise InvalidInput(f"column {feature.name} may not be missing")
    if feature.dtype == "category":
        if not isinstance(value, str):
            raise InvalidInput(f"column {feature.name} holds a category: send text")
        if feature.categories is not None and value not in feature.categories:
            raise InvalidInput(f"column {feature.name}: unknown category; allowed: {', '.join(feature.categories)}")
        return value
    if isinstance(value, bool):
        if feature.dtype != "boolean":
            raise InvalidInput(f"column {feature.name} holds a {feature.dtype}: send a number, not true or false")
        return float(value)
    if not isinstance(value, int | float):
        raise InvalidInput(f"column {feature.name} holds a {feature.dtype}: send a number, not text")
    return _number(feature, value)


def _number(feature: FeatureCard, value: int | float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):  # 1e999 is valid JSON and becomes an infinity
        raise InvalidInput(f"column {feature.name}: the number is not finite")
    if feature.dtype == "boolean" and number not in (0.0, 1.0):
        raise InvalidInput(f"column {feature.name} holds a boolean: send true or false (or 1 or 0)")
    if feature.dtype == "integer" and not number.is_integer():
        raise InvalidInput(f"column {feature.name} holds whole numbers")
    if feature.plausible_range is not None:
        low, high = feature.plausible_range
        if not low <= number <= high:
            unit = f" {feature.unit}" if feature.unit not in (None, "1") else ""
            raise InvalidInput(
                f"column {feature.name}: outside the plausible range {low:g} to {high:g}{unit}; check the unit"
            )
    return number
