from __future__ import annotations

import datetime as dt
import hashlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.trials.split import Split

subjects = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), min_size=1, max_size=50, unique=True
)


@given(subjects, st.floats(0.001, 0.999))
def test_side_follows_from_the_first_64_bits_of_the_salted_hash(ids: list[str], fraction: float) -> None:
    draws = [int(hashlib.sha256(f"salt|{subject}".encode()).hexdigest()[:16], 16) for subject in ids]
    expected = ["test" if draw < int(fraction * 2**64) else "train" for draw in draws]
    split = Split("salt", fraction, "contract")
    assert split.assign(ids).tolist() == expected
    sides = sorted([subject, side] for subject, side in zip(ids, expected, strict=True))
    assert split.digest(pd.DataFrame({"subject_id": ids})) == sha256_json(["salt", fraction, "contract", sides])


@given(subjects, subjects)
def test_a_subject_keeps_its_side_whatever_other_subjects_arrive(early: list[str], late: list[str]) -> None:
    split = Split("salt")
    alone = dict(zip(early, split.assign(early), strict=True))
    together = dict(zip(early + late, split.assign(early + late), strict=True))
    assert all(together[subject] == alone[subject] for subject in early)


def test_share_of_test_subjects_is_as_declared() -> None:
    n = 20_000
    for fraction in (0.1, 0.3, 0.5):
        found = (Split("salt", fraction).assign(map(str, range(n))) == "test").sum()
        low, high = binom.interval(1 - 1e-6, n, fraction)
        assert low <= found <= high


def test_splits_with_different_salts_are_independent() -> None:
    ids = [str(number) for number in range(20_000)]
    first, second = (Split(salt).assign(ids) == "test" for salt in ("a", "b"))
    assert np.mean(first & second) == pytest.approx(0.09, abs=0.01)


def test_digest_sees_rule_contract_and_subjects_but_not_row_order() -> None:
    frame = pd.DataFrame({"subject_id": ["b", "a", "c"]})
    digest = Split("salt", 0.3, "contract").digest(frame)
    assert Split("salt", 0.3, "contract").digest(frame.iloc[::-1]) == digest
    for other in (Split("Salt", 0.3, "contract"), Split("salt", 0.4, "contract"), Split("salt", 0.3, "other")):
        assert other.digest(frame) != digest
    assert Split("salt", 0.3, "contract").digest(frame.iloc[:2]) != digest


def test_parts_are_disjoint_and_complete_and_repeated_subjects_stay_together() -> None:
    frame = pd.DataFrame({"subject_id": [str(number // 2) for number in range(100)], "x": range(100)})
    train, test = Split("salt").parts(frame)
    assert not set(train["subject_id"]) & set(test["subject_id"])
    assert sorted([*train["x"], *test["x"]]) == list(range(100))
    assert list(test.index) == list(range(len(test)))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1])
def test_fraction_must_leave_both_sides(fraction: float) -> None:
    with pytest.raises(ValueError, match="test_fraction"):
        Split("salt", fraction)


@given(st.lists(st.dates(dt.date(1990, 1, 1), dt.date(2020, 12, 31)), min_size=1, max_size=30), st.data())
def test_an_out_of_time_split_puts_everybody_from_its_date_on_into_the_test_set(dates: list[dt.date], data) -> None:
    first = data.draw(st.sampled_from(dates))
    frame = pd.DataFrame(
        {"subject_id": [str(number) for number in range(len(dates))], "index_date": pd.to_datetime(dates)}
    )
    split = Split("salt", test_from=first)
    train, test = split.parts(frame)
    assert test["index_date"].min() == pd.Timestamp(first)
    assert train.empty or train["index_date"].max() < test["index_date"].min()
    assert split.digest(frame) != Split("salt").digest(frame)
