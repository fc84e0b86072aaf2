"""Small cells: a count of one to ten patients can point at a person, so it leaves the platform as "<11".

The limit is that of the CMS cell size suppression policy, and of EMA policy 0070 (a risk of 0.09 is one in eleven).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

SMALLEST_CELL = 11
HIDDEN = "<11"
COUNTS = frozenset({"n", "events", "patients", "at_risk", "rows"})
"""Keys under which tables, measures and the details of checks keep counts of patients."""


def is_small(count: int | float) -> bool:
    return 0 < count < SMALLEST_CELL


def shown(count: int) -> int | str:
    """The count, or `<11`."""
    return HIDDEN if is_small(count) else int(count)


def shown_parts(counts: Mapping[str, int]) -> dict[str, int | str]:
    """The parts of a known total. A single hidden part could be subtracted from it, so a second one is hidden too."""
    hidden = {name for name, count in counts.items() if is_small(count)}
    if len(hidden) == 1:
        others = {name: count for name, count in counts.items() if name not in hidden and count > 0}
        hidden |= {min(others, key=others.__getitem__)} if others else set()
    return {name: HIDDEN if name in hidden else int(count) for name, count in counts.items()}


def without_small_cells(value: Any, key: str = "") -> Any:
    """A document with every small count under a key of `COUNTS` replaced, and a second where it would follow."""
    if isinstance(value, Mapping):
        if value and all(isinstance(part, Mapping) and part and part.keys() <= COUNTS for part in value.values()):
            return _hidden_together(value)
        return {name: without_small_cells(item, name) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_small_cells(item, key) for item in value]
    return HIDDEN if key in COUNTS and _is_small_count(value) else value


def _hidden_together(cells: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The cells of one division of the patients, by group: `{"female": {"n": 40, "events": 3}, …}`."""
    counts = {count for cell in cells.values() for count in cell}
    parts = {
        count: shown_parts({name: cell[count] for name, cell in cells.items() if count in cell}) for count in counts
    }
    return {name: {count: parts[count][name] for count in cell} for name, cell in cells.items()}


def small_cells(value: Any, place: str = "") -> Iterator[str]:
    """Places (as JSON pointers) at which a count of one to ten patients stands in the open."""
    key = place.rpartition("/")[2]
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from small_cells(item, f"{place}/{name}")
    elif isinstance(value, list | tuple):
        for item in value:
            yield from small_cells(item, place)
    elif key in COUNTS and _is_small_count(value):
        yield place


def small_counts(table: Mapping[str, Any]) -> Iterator[str]:
    """Places of a Table 1 at which a count of one to ten patients stands in the open: `7`, or `7 (3.2%)`."""
    for index, row in enumerate(table["rows"]):
        for group in table["groups"]:
            count = re.fullmatch(r"(\d+)( \(.*\))?", row[group])
            if count and is_small(int(count[1])):
                yield f"/rows/{index}/{group}"


def _is_small_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and is_small(value)
