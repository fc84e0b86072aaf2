"""Which groups of the sensitive attributes a request tells, as the rollout's subgroup test names them.

Numbers such as age are left out: their bands are the contract's, and a raw age does not belong in the ledger.
"""

from __future__ import annotations

from clinical_assets.modeling.card import ModelCard
from clinical_assets.serving.input_validation import Row
from clinical_assets.trials.groups import NOT_REPORTED


def groups_told(row: Row, card: ModelCard) -> tuple[str, ...]:
    """`("sex=female",)` for each sensitive feature with categories; a missing value is a group of its own."""
    told = []
    for feature in card.features:
        if not feature.sensitive or feature.dtype not in ("category", "boolean"):
            continue
        value = row[feature.name]
        if value is not None and feature.dtype == "boolean":
            value = "yes" if value else "no"
        told.append(f"{feature.name}={NOT_REPORTED if value is None else value}")
    return tuple(told)
