"""Codes and numbers: reading a whole column gives what reading it value by value gives."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.trials.codes import code, codes
from clinical_assets.trials.numeric import numbers

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
digits = st.from_regex(r" ?[+-]?\d{1,25}(\.\d{0,25})?([eE][+-]?\d{1,3})? ?", fullmatch=True)
odd = st.sampled_from(
    [
        "",
        " ",
        "inf",
        "-Infinity",
        "nan",
        "1_000",
        "0x10",
        "1e999",
        "1e-999",
        "٣",
        "true",
        "1,5",
        "nan(1)",
        "1\0",
        "\x1f2",
    ]
)
absent = st.sampled_from([None, np.nan, pd.NA])
scalars = st.one_of(
    absent, words, digits, odd, st.integers(), st.floats(), st.booleans(), st.dates(), st.decimals(allow_nan=False)
)


def value_by_value(values: list, spellings: dict[str, float]) -> list[float]:
    found = []
    for value in values:
        try:
            number = float(spellings.get(value.strip().lower(), value) if isinstance(value, str) else value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        found.append(number if math.isfinite(number) else math.nan)
    return found


@given(st.lists(scalars, max_size=10), st.sampled_from([{}, {"true": 1.0, "false": 0.0}]))
def test_numbers_of_anything(values: list, spellings: dict[str, float]) -> None:
    column = pd.Series(values, dtype=object)
    found, unreadable = numbers(column, spellings)
    expected = np.array(value_by_value(values, spellings))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(unreadable, np.isnan(expected) & column.notna().to_numpy(bool))


@pytest.mark.parametrize("dtype", ["object", "string[python]", "string[pyarrow]", "category"])
@given(values=st.lists(digits | odd | st.none(), max_size=10))
def test_numbers_of_text_do_not_depend_on_how_it_is_stored(dtype: str, values: list) -> None:
    found, unreadable = numbers(pd.Series(values, dtype=dtype))
    expected = np.array(value_by_value(values, {}))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        unreadable, [v is not None and math.isnan(x) for v, x in zip(values, expected, strict=True)]
    )


@given(st.lists(digits, min_size=1, max_size=10))
def test_digits_give_the_nearest_double(values: list[str]) -> None:
    """Arrow's parser and Python's agree to the last bit."""
    readable = [value for value in values if math.isfinite(float(value))]
    found, _ = numbers(pd.Series(readable, dtype="string[pyarrow]"))
    assert found.tolist() == [float(value) for value in readable]


@given(st.lists(scalars, max_size=10))
def test_codes_of_anything(values: list) -> None:
    column = pd.Series(values, dtype=object)
    assert codes(column).tolist() == [code(value) for value in values]


@pytest.mark.parametrize("dtype", ["string[python]", "string[pyarrow]", "category"])
@given(values=st.lists(words | st.none(), max_size=10))
def test_codes_of_text_do_not_depend_on_how_it_is_stored(dtype: str, values: list) -> None:
    assert codes(pd.Series(values, dtype=dtype)).tolist() == [code(value) for value in values]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, "1"), (1.0, "1"), (True, "1"), (np.int8(1), "1"), (np.bool_(False), "0"), (-0.0, "0"), (0.5, "0.5"),
     (" 007 ", "007"), (None, None), (pd.NaT, None), (math.inf, "inf"), (2**53 + 1, "9007199254740993")],
)  # fmt: skip
def test_one_spelling_for_one_code(value: object, expected: str | None) -> None:
    assert code(value) == expected


def test_identifiers_beyond_double_precision_stay_apart() -> None:
    assert codes(pd.Series([2**53, 2**53 + 1])).tolist() == ["9007199254740992", "9007199254740993"]
