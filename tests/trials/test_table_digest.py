from __future__ import annotations

import hashlib
import struct

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.trials.table_digest import table_sha256

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
