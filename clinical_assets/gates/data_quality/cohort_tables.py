"""Tables about the cohort for the evidence of gate 1: flow of rows, and Table 1 by group. Nothing row-level.

Cells of 1 to 10 patients are withheld, and so is what would give them away: the next smallest cell, where the rest of a
group or of a level would, and the rows left after a step that leaves out so few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.trials.contract import CohortContract, Column
from clinical_assets.trials.small_cells import HIDDEN, SMALLEST_CELL

WITHHELD = "withheld"


@dataclass(frozen=True)
class FlowStep:
    """`rows` left after `step`, which left out `excluded`; a number withheld is text."""

    step: str
    rows: int | str
    excluded: int | str


def row_flow(manifest: Mapping[str, Any]) -> tuple[FlowStep, ...]:
    """The CONSORT-like flow of a snapshot's manifest, from the source's rows to the cohort's.

    A step that leaves out 1 to 10 rows is told together with the next ones until it does not; if the flow ends before,
    together with the ones before it.

    Raises:
        ValueError: the manifest has no row flow, or rows come back in the middle of it.
    """
    steps = [(str(entry["step"]), int(entry["rows"])) for entry in manifest.get("row_flow", ())]
    if not steps:
        raise ValueError(f"{manifest.get('cancer', 'snapshot')}: the manifest holds no row flow")
    if any(later > earlier for (_, earlier), (_, later) in pairwise(steps)):
        raise ValueError(f"{manifest.get('cancer', 'snapshot')}: the row flow gains rows: {steps}")
    name, rows = steps[0]
    told: list[tuple[str, int, int]] = [(name, rows, 0)]
    waiting: list[str] = []
    for name, rows in steps[1:]:
        left_out = told[-1][1] - rows
        waiting.append(name)
        if 0 < left_out < SMALLEST_CELL:
            continue
        told.append(("; ".join(waiting), rows, left_out))
        waiting = []
    while waiting and len(told) > 1:
        name, _, _ = told.pop()
        waiting.insert(0, name)
        if told[-1][1] - rows >= SMALLEST_CELL:
            told.append(("; ".join(waiting), rows, told[-1][1] - rows))
            waiting = []
    if waiting:
        return (FlowStep(told[0][0], WITHHELD, 0), FlowStep("; ".join(waiting), rows, HIDDEN))
    return tuple(FlowStep(*step) for step in told)


@dataclass(frozen=True)
class TableOne:
    """`groups` are the columns; every row holds a characteristic, a level and one text per group."""

    groups: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[str, ...]], ...]
    note: str = f"Cells of 1 to {SMALLEST_CELL - 1} patients are withheld, and cells from which they would follow."

    def records(self) -> list[dict[str, str]]:
        """One dictionary per row, keys `characteristic`, `level` and the groups."""
        return [
            {"characteristic": name, "level": level, **dict(zip(self.groups, cells, strict=True))}
            for name, level, cells in self.rows
        ]


def table_one(frames: Mapping[str, pd.DataFrame], contract: CohortContract) -> TableOne:
    """Characteristics of each group of patients: median [quartiles], or number and share of each level.

    Args:
        frames: name of a group -> canonical table: {"train": …, "test": …}, or `by_column` for sites.
    """
    sizes = np.array([len(frame) for frame in frames.values()])
    rows: list[tuple[str, str, tuple[str, ...]]] = [("patients", "", tuple(_shown(int(size)) for size in sizes))]
    for column in contract.attributes:
        held = [frame[column.name] if column.name in frame else pd.Series(dtype=object) for frame in frames.values()]
        rows += _measured(column, held) if column.measured else _levels(_heading(column), _named_levels(column), held)
    outcome = contract.outcome_names[-1]
    if contract.endpoint.kind == "survival":
        rows += _summary("follow-up, days", [frame["time"] for frame in frames.values()])
    names = [(1, contract.endpoint.name), (0, "censored" if contract.endpoint.kind == "survival" else "none")]
    rows += _levels("outcome", names, [frame[outcome] for frame in frames.values()])
    return TableOne(tuple(frames), tuple(rows))


def by_column(frame: pd.DataFrame, name: str) -> dict[str, pd.DataFrame]:
    """The rows per value of a column (a site); values with too few patients to be shown are pooled as "other"."""
    values = frame[name].astype(object).where(frame[name].notna(), "not reported").astype(str)
    counts = values.value_counts()
    small = set(counts.index[counts < SMALLEST_CELL])
    pooled = values.where(~values.isin(small), "other")
    return {str(value): frame.loc[pooled == value] for value in sorted(pooled.unique())}


def _heading(column: Column) -> str:
    unit = f", {column.unit}" if column.unit and column.unit != "1" else ""
    return f"{column.name}{unit}"


def _named_levels(column: Column) -> list[tuple[Any, str]]:
    if column.dtype == "boolean":
        return [(1.0, "yes"), (0.0, "no")]
    return [(category, category) for category in column.categories or ()]


def _measured(column: Column, held: Sequence[pd.Series]) -> list[tuple[str, str, tuple[str, ...]]]:
    rows = _summary(_heading(column), held)
    missing = np.array([[int(values.isna().sum()) for values in held]])
    if missing.any():
        shown = _suppressed(np.vstack([missing, [[int(values.notna().sum()) for values in held]]]))
        rows.append((_heading(column), "missing", tuple(shown[0])))
    return rows


def _summary(name: str, held: Sequence[pd.Series]) -> list[tuple[str, str, tuple[str, ...]]]:
    cells = []
    for values in held:
        known = pd.to_numeric(values, errors="coerce").dropna()
        if len(known) < SMALLEST_CELL:
            cells.append(HIDDEN if len(known) else "none")
            continue
        low, middle, high = np.quantile(known, (0.25, 0.5, 0.75))
        cells.append(f"{middle:.4g} [{low:.4g}, {high:.4g}]")
    return [(name, "median [quartiles]", tuple(cells))]


def _levels(
    name: str, levels: Sequence[tuple[Any, str]], held: Sequence[pd.Series]
) -> list[tuple[str, str, tuple[str, ...]]]:
    counts = [[int((values == value).sum()) for values in held] for value, _ in levels]
    other = [len(values) - sum(row[at] for row in counts) for at, values in enumerate(held)]
    labels = [label for _, label in levels]
    if any(other):
        counts.append(other)
        labels.append("missing or undeclared")
    shown = _suppressed(np.array(counts))
    return [(name, label, tuple(cells)) for label, cells in zip(labels, shown, strict=True)]


def _suppressed(counts: np.ndarray) -> list[list[str]]:
    """Counts (levels, groups) as text with the share of the group; 1 to 10 withheld, and never one cell alone.

    The sizes of the groups are shown, and those of the levels may be known from elsewhere: a cell withheld alone would
    follow from the others. Then the next smallest that is not zero goes too.
    """
    small = (counts > 0) & (counts < SMALLEST_CELL)
    hidden = small.copy()
    before = -1
    while hidden.sum() != before:
        before = hidden.sum()
        for view, values in ((hidden, counts), (hidden.T, counts.T)):
            for line, amounts in zip(view, values, strict=True):
                left = np.flatnonzero(~line & (amounts > 0))
                if line.sum() == 1 and len(left):
                    line[left[np.argmin(amounts[left])]] = True
    totals = counts.sum(axis=0)
    texts = [[_shown(int(count), int(total)) for count, total in zip(row, totals, strict=True)] for row in counts]
    texts = np.where(hidden, WITHHELD, np.array(texts, dtype=object))
    return np.where(small, HIDDEN, texts).tolist()


def _shown(count: int, total: int = 0) -> str:
    if 0 < count < SMALLEST_CELL:
        return HIDDEN
    return f"{count} ({count / total:.1%})" if total else str(count)
