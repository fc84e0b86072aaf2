"""Tables of a bundle: who the patients were, how the model does group by group, where rows were left."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from clinical_assets.gates.cohort_tables import row_flow, table_one
from clinical_assets.modeling.metrics.bootstrap import Draws, observed_expected_interval
from clinical_assets.trials.groups import group_labels, sensitive_groups
from clinical_assets.trials.small_cells import HIDDEN, shown, shown_parts

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.evidence.patients import Unseen
    from clinical_assets.gates.facts import ReleaseFacts
    from clinical_assets.trials.contract import CohortContract


def cohort_table(facts: ReleaseFacts) -> dict[str, Any]:
    """Table 1 by side of the split, and what is withheld in it."""
    table = table_one({"training": facts.train, "test": facts.test}, facts.contract)
    return {"groups": list(table.groups), "rows": table.records(), "note": table.note}


def subgroup_table(unseen: Unseen, contract: CohortContract, seed: int) -> list[dict[str, Any]]:
    """Observed over expected risk of each group that the contract names, with its interval; small groups are hidden."""
    groups = sensitive_groups(unseen.frame, contract).astype(str)
    had = unseen.outcomes.flag
    if unseen.horizon is not None:
        had = had & (unseen.outcomes.times() <= unseen.horizon)
    rows = []
    for attribute in groups.columns:
        names = _in_order(groups[attribute], contract)
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


def _in_order(groups: pd.Series, contract: CohortContract) -> list[str]:
    """The groups that are there: those of the contract in its order, then what it does not foresee."""
    column = next(column for column in contract.sensitive if column.name == groups.name)
    present = set(groups.unique())
    foreseen = [name for name in group_labels(column, contract) if name in present]
    return foreseen + sorted(present - set(foreseen))


def _agreement(unseen: Unseen, inside: np.ndarray, seed: int) -> dict[str, float] | None:
    part = unseen.outcomes.take(inside)
    try:
        found = observed_expected_interval(part, unseen.risk[inside], unseen.horizon, Draws.make(part.n, seed))
    except ValueError:
        return None
    return {"value": found.estimate, "low": found.low, "high": found.high}


def flow(facts: ReleaseFacts) -> dict[str, Any]:
    """From the rows of the source to the two sides of the split."""
    return {
        "steps": [asdict(step) for step in row_flow(facts.manifest)],
        "sides": [
            {"step": "training", "rows": shown(len(facts.train))},
            {"step": "locked test", "rows": shown(len(facts.test))},
        ],
    }
