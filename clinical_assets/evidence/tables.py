"""Tables of a bundle: who the patients were, how the model does group by group, where rows were left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from clinical_assets.trials.small_cells import HIDDEN, SMALLEST_CELL, shown, shown_parts
from clinical_assets.modeling.metrics.bootstrap import Draws, observed_expected_interval
from clinical_assets.trials.groups import sensitive_groups

if TYPE_CHECKING:
    from clinical_assets.evidence.patients import Unseen
    from clinical_assets.gates.facts import ReleaseFacts
    from clinical_assets.trials.contract import CohortContract

TRAIN, TEST = "train", "test"


def cohort_table(facts: ReleaseFacts) -> list[dict[str, Any]]:
    """Table 1 by side of the split: median and quartiles of a measurement, shares of a category, what is missing."""
    sides = {TRAIN: facts.train, TEST: facts.test}
    rows: list[dict[str, Any]] = [
        {"characteristic": "patients", "level": "", **{side: {"n": shown(len(frame))} for side, frame in sides.items()}},
        {"characteristic": "with the event", "level": "over all follow-up",
         **{side: _share(frame[facts.contract.outcome_names[-1]].sum(), len(frame)) for side, frame in sides.items()}},
    ]  # fmt: skip
    for column in facts.contract.attributes:
        if column.dtype in ("number", "integer"):
            quartiles = {side: _quartiles(frame[column.name]) for side, frame in sides.items()}
            rows.append({"characteristic": column.name, "level": column.unit or "", **quartiles})
        else:
            rows += _levels(column.name, sides)
        if any(frame[column.name].isna().any() for frame in sides.values()):
            missing = {side: _share(frame[column.name].isna().sum(), len(frame)) for side, frame in sides.items()}
            rows.append({"characteristic": column.name, "level": "missing", **missing})
    return rows


def _levels(name: str, sides: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    levels = sorted({str(level) for frame in sides.values() for level in frame[name].dropna().unique()})
    cells = {}
    for side, frame in sides.items():
        counts = frame[name].dropna().astype(str).value_counts()
        parts = shown_parts({level: int(counts.get(level, 0)) for level in levels})
        cells[side] = {
            level: {"n": n, "share": None if n == HIDDEN else int(n) / max(len(frame), 1)} for level, n in parts.items()
        }
    return [{"characteristic": name, "level": level, **{side: cells[side][level] for side in sides}} for level in levels]


def _share(count: int, total: int) -> dict[str, Any]:
    n = shown(int(count))
    return {"n": n, "share": None if n == HIDDEN else int(count) / max(total, 1)}


def _quartiles(values: pd.Series) -> dict[str, Any]:
    known = values.dropna().to_numpy(np.float64)
    if len(known) < SMALLEST_CELL:
        return {"n": shown(len(known))}
    low, middle, high = (float(value) for value in np.quantile(known, [0.25, 0.5, 0.75]))
    return {"n": shown(len(known)), "median": middle, "quartiles": [low, high]}


def subgroup_table(unseen: Unseen, contract: CohortContract, seed: int) -> list[dict[str, Any]]:
    """Observed over expected risk of each group that the contract names, with its interval; small groups are hidden."""
    groups = sensitive_groups(unseen.frame, contract).astype(str)
    had = unseen.outcomes.flag
    if unseen.horizon is not None:
        had = had & (unseen.outcomes.times() <= unseen.horizon)
    rows = []
    for attribute in groups.columns:
        names = sorted(groups[attribute].unique())
        inside = {name: (groups[attribute] == name).to_numpy() for name in names}
        sizes = shown_parts({name: int(members.sum()) for name, members in inside.items()})
        events = shown_parts({name: int((members & had).sum()) for name, members in inside.items()})
        for name in names:
            hidden = HIDDEN in (sizes[name], events[name])
            rows.append(
                {
                    "attribute": attribute,
                    "group": name,
                    "n": sizes[name],
                    "events": HIDDEN if sizes[name] == HIDDEN else events[name],
                    "observed_expected": None if hidden else _agreement(unseen, inside[name], seed),
                }
            )
    return rows


def _agreement(unseen: Unseen, inside: np.ndarray, seed: int) -> dict[str, float] | None:
    part = unseen.outcomes.take(inside)
    try:
        found = observed_expected_interval(part, unseen.risk[inside], unseen.horizon, Draws.make(part.n, seed))
    except ValueError:
        return None
    return {"value": found.estimate, "low": found.low, "high": found.high}


def row_flow(facts: ReleaseFacts) -> list[dict[str, Any]]:
    """From the rows of the source to the two sides of the split."""
    steps = [{"step": str(entry["step"]), "rows": shown(int(entry["rows"]))} for entry in facts.manifest["row_flow"]]
    steps.append({"step": "for training and cross-validation", "rows": shown(len(facts.train))})
    steps.append({"step": "locked test patients", "rows": shown(len(facts.test))})
    return steps
