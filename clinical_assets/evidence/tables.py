"""Tables of a bundle: who the patients were, how the model does group by group, where rows were left."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from clinical_assets.gates.bias.subgroup_table import subgroup_table
from clinical_assets.gates.data_quality.cohort_tables import row_flow, table_one
from clinical_assets.trials.small_cells import HIDDEN, shown, shown_parts

if TYPE_CHECKING:
    from clinical_assets.gates.facts import ReleaseFacts
    from clinical_assets.gates.policy import GatePolicy


def cohort_table(facts: ReleaseFacts) -> dict[str, Any]:
    """Table 1 by side of the split, and what is withheld in it."""
    table = table_one({"training": facts.train, "test": facts.test}, facts.contract)
    return {"groups": list(table.groups), "rows": table.records(), "note": table.note}


def group_table(facts: ReleaseFacts, policy: GatePolicy) -> dict[str, Any]:
    """Every group by every metric; where one group of an attribute is withheld, the next smallest is too."""
    table = subgroup_table(facts, policy).as_dict()
    for attribute in {row["attribute"] for row in table["rows"]}:
        rows = [row for row in table["rows"] if row["attribute"] == attribute]
        for count in ("n", "events"):
            sizes = {row["group"]: 1 if isinstance(row[count], str) else row[count] for row in rows}
            parts = shown_parts(sizes) if len(sizes) > 1 else {name: shown(size) for name, size in sizes.items()}
            for row in rows:
                row[count] = parts[row["group"]]
    for row in table["rows"]:
        if HIDDEN in (row["n"], row["events"]) or not math.isfinite(row["estimate"] or 0.0):
            row |= {"estimate": None, "interval": None, "reference": None}
    return table


def flow(facts: ReleaseFacts) -> dict[str, Any]:
    """From the rows of the source to the two sides of the split."""
    return {
        "steps": [asdict(step) for step in row_flow(facts.manifest)],
        "sides": [
            {"step": "training", "rows": shown(len(facts.train))},
            {"step": "locked test", "rows": shown(len(facts.test))},
        ],
    }
