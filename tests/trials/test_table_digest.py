from __future__ import annotations

import datetime as dt
import hashlib
import struct
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.trials import table_digest
from clinical_assets.trials.table_digest import table_sha256


def by_definition(frame: pd.DataFrame) -> str:
    """The digest value by value, as the docstring of `table_sha256` defines it."""
    digest = hashlib.sha256(canonical_json({"rows": len(frame), "columns": [str(name) for name in frame.columns]}))
    for name in frame.columns:
        kind, data = column_by_definition(frame[name])
        digest.update(canonical_json([kind, len(data)]) + data)
    return digest.hexdigest()


def column_by_definition(column: pd.Series) -> tuple[str, bytes]:
    if pd.api.types.is_datetime64_any_dtype(column):
        return "timestamp", b"".join(struct.pack("<q", value) for value in column.astype("datetime64[us]").astype("i8"))
    values = [None if absent else value for value, absent in zip(column.tolist(), column.isna(), strict=True)]
    present = [value for value in values if value is not None]
    if pd.api.types.is_numeric_dtype(column) or (present and all(isinstance(value, Real) for value in present)):
        nan = struct.pack("<Q", 0x7FF8000000000000)
        return "number", b"".join(nan if v is None else struct.pack("<d", float(v) + 0.0) for v in values)
    texts = [None if value is None else str(value).encode() for value in values]
    return "text", b"".join(
        struct.pack("<q", -1) if text is None else struct.pack("<q", len(text)) + text for text in texts
    )


absent = st.sampled_from([None, np.nan, pd.NA])
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
whole = st.integers(-(2**60), 2**60)
real = st.floats(allow_nan=False)
moments = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1))
CONTENT = {
    "text": words, "whole": whole, "real": real, "truth": st.booleans(), "numbers": whole | real | st.booleans(),
    "exact": st.fractions(), "dates": st.dates(), "moments": moments, "anything": words | whole | real | st.dates(),
    "money": st.decimals(allow_nan=False), "nothing": st.nothing(),
}  # fmt: skip


@pytest.mark.parametrize("content", CONTENT)
@given(data=st.data())
def test_digest_is_the_one_defined_value_by_value(content: str, data: st.DataObject) -> None:
    values = data.draw(st.lists(CONTENT[content] | absent, max_size=8))
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    assert table_sha256(frame) == by_definition(frame)
    if content in ("text", "dates", "money"):
        category = frame.assign(x=frame["x"].astype("category"))
        assert table_sha256(category) == by_definition(category)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("Int64", whole | st.none()), ("boolean", st.booleans() | st.none()), ("Float64", real | st.none()),
        ("float32", st.floats(width=32)), ("int8", st.integers(-128, 127)), ("bool", st.booleans()),
        ("string[python]", words | st.none()), ("string[pyarrow]", words | st.none()), ("datetime64[ns]", moments),
        ("category", words | st.none()),
    ],
)  # fmt: skip
@given(data=st.data())
def test_digest_of_every_storage_type_is_the_one_defined(dtype: str, values: st.SearchStrategy, data: Any) -> None:
    frame = pd.DataFrame({"x": pd.Series(data.draw(st.lists(values, max_size=8)), dtype=dtype)})
    assert table_sha256(frame) == by_definition(frame)


@given(st.lists(words | st.none(), max_size=30))
def test_laying_out_text_in_parts_does_not_change_the_digest(values: list) -> None:
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object), "y": pd.Series(values, dtype="string[pyarrow]")})
    sliced = pd.concat([frame.iloc[:7], frame.iloc[7:]])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table_digest, "_ROWS", 4)
        assert table_sha256(sliced) == by_definition(frame)


TABLE = pd.DataFrame({"n": [1.0, np.nan, -0.0], "t": ["a", None, "é"], "d": pd.to_datetime(["2000-01-01"] * 3)})


def test_digest_follows_its_written_definition() -> None:
    numbers = struct.pack("<d", 1.0) + struct.pack("<Q", 0x7FF8000000000000) + struct.pack("<d", 0.0)
    text = struct.pack("<q", 1) + b"a" + struct.pack("<q", -1) + struct.pack("<q", 2) + "é".encode()
    dates = struct.pack("<3q", *[946_684_800_000_000] * 3)
    expected = hashlib.sha256(b'{"columns":["n","t","d"],"rows":3}')
    for kind, data in (("number", numbers), ("text", text), ("timestamp", dates)):
        expected.update(f'["{kind}",{len(data)}]'.encode() + data)
    assert table_sha256(TABLE) == expected.hexdigest()


def test_storage_types_do_not_matter() -> None:
    same = {
        "int64": pd.Series([1, 2], dtype="int64"),
        "float": pd.Series([1.0, 2.0]),
        "object": pd.Series([1, 2.0], dtype=object),
        "nullable": pd.Series([1, 2], dtype="Int64"),
    }
    assert len({table_sha256(pd.DataFrame({"x": column})) for column in same.values()}) == 1
    text = [pd.Series(["a", None], dtype=object), pd.Series(["a", None], dtype="string"), pd.Series(["a", np.nan])]
    assert len({table_sha256(pd.DataFrame({"x": column})) for column in text}) == 1
    moments = [TABLE["d"].astype(f"datetime64[{unit}]") for unit in ("s", "us", "ns")]
    assert len({table_sha256(pd.DataFrame({"x": column})) for column in moments}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        TABLE.iloc[::-1],
        TABLE[["t", "n", "d"]],
        TABLE.rename(columns={"n": "m"}),
        TABLE.iloc[:2],
        TABLE.assign(t=["a", "", "é"]),
        TABLE.assign(n=[1.0, 0.0, 0.0]),
        TABLE.assign(n=[np.nextafter(1.0, 2.0), np.nan, 0.0]),
    ],
    ids=["row order", "column order", "name", "rows", "empty is not missing", "zero is not missing", "one ulp"],
)
def test_every_change_of_content_changes_the_digest(changed: pd.DataFrame) -> None:
    assert table_sha256(changed) != table_sha256(TABLE)


@given(st.lists(st.text(max_size=4), min_size=2, max_size=6), st.lists(st.text(max_size=4), min_size=2, max_size=6))
def test_different_texts_have_different_digests(left: list[str], right: list[str]) -> None:
    digests = [table_sha256(pd.DataFrame({"x": pd.Series(side, dtype=object)})) for side in (left, right)]
    assert (digests[0] == digests[1]) == (left == right)
