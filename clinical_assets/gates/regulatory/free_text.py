"""Columns that hold prose instead of codes: where a name, a place or a date can stand that no pattern finds."""

from __future__ import annotations

import re

import pandas as pd

from clinical_assets.gates.facts import ReleaseFacts

_WORD = re.compile(r"[^\W\d_]{2,}")
EXEMPT = ("subject_id", "index_date")
LONG = 40
"""Characters from which an undeclared value of a declared column is no code, whatever its words."""


def free_text_columns(facts: ReleaseFacts, words: int, distinct: int) -> tuple[dict[str, str], int]:
    """What makes each column of prose one, and how many text columns there are.

    A declared category is a code, however long. In a column declared as category, other values are prose from `words`
    words; a column that is not declared is prose from two words, or with more than `distinct` values.
    """
    declared = {column.name: set(column.categories or ()) for column in facts.contract.columns}
    found: dict[str, str] = {}
    texts = 0
    for name in dict.fromkeys((*map(str, facts.train.columns), *map(str, facts.test.columns))):
        values = _distinct([frame[name] for frame in (facts.train, facts.test) if name in frame.columns])
        if name in EXEMPT or not values:
            continue
        texts += 1
        codes = declared.get(name, set())
        other = [value for value in values if value not in codes]
        limit = words if codes else min(2, words)
        prose = [value for value in other if len(_WORD.findall(value)) >= limit or (codes and len(value) > LONG)]
        if prose:
            found[name] = f"{len(prose)} of {len(values)} distinct values are prose"
        elif not codes and len(other) > distinct:
            found[name] = f"{len(other)} distinct texts and no declared categories"
    return found, texts


def _distinct(parts: list[pd.Series]) -> list[str]:
    """Distinct texts; empty for a column of numbers, booleans or dates."""
    values: dict[str, None] = {}
    for part in parts:
        if pd.api.types.is_numeric_dtype(part) or pd.api.types.is_datetime64_any_dtype(part):
            continue
        values |= dict.fromkeys(value for value in part.dropna().unique() if isinstance(value, str))
    return list(values)
