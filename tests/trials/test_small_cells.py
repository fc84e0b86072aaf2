"""Counts of one to ten patients never leave, nor does what would give them away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clinical_assets.trials.small_cells import HIDDEN, shown, shown_parts, small_cells, without_small_cells


def test_counts_of_one_to_ten_are_hidden_and_none_is_shown() -> None:
    assert [shown(count) for count in (0, 1, 10, 11)] == [0, HIDDEN, HIDDEN, 11]


def test_a_single_hidden_part_takes_the_next_smallest_with_it() -> None:
    assert shown_parts({"a": 3, "b": 40, "c": 500}) == {"a": HIDDEN, "b": HIDDEN, "c": 500}


@given(st.dictionaries(st.text(min_size=1), st.integers(0, 60), min_size=2))
def test_no_hidden_part_follows_from_the_total(counts: dict[str, int]) -> None:
    parts = shown_parts(counts)
    hidden = [name for name, part in parts.items() if part == HIDDEN]
    left = [name for name, count in counts.items() if count and name not in hidden]
    assert len(hidden) != 1 or not left
    assert all(part == HIDDEN or part == 0 or part > 10 for part in parts.values())


def test_details_of_a_check_lose_their_small_groups_and_keep_the_rest() -> None:
    details = {
        "groups": {"sex": {"female": {"n": 90, "events": 30}, "male": {"n": 20, "events": 4}}},
        "gaps": [{"group": "male", "n": 7, "gap": 0.25}],
        "test": {"events": 8, "value": 5},
        "seed": 3,
    }
    assert without_small_cells(details) == {
        "groups": {"sex": {"female": {"n": 90, "events": HIDDEN}, "male": {"n": 20, "events": HIDDEN}}},
        "gaps": [{"group": "male", "n": HIDDEN, "gap": 0.25}],
        "test": {"events": HIDDEN, "value": 5},
        "seed": 3,
    }


def test_places_of_small_cells_are_named() -> None:
    assert list(small_cells({"rows": [{"n": 4}, {"n": 40}], "events": {"a": 2}, "at_risk": [50, 3]})) == [
        "/rows/n",
        "/at_risk",
    ]
