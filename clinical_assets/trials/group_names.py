"""The groups that a contract foresees for its sensitive attributes, by name; light enough for the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clinical_assets.trials.contract import CohortContract, Column

NOT_REPORTED = "not reported"


def band_labels(edges: Sequence[float], whole: bool) -> tuple[str, ...]:
    """`[50, 65]` gives `<50`, `50-64`, `>=65` for whole numbers, `<50`, `50 to <65`, `>=65` otherwise."""
    between = [f"{low:g}-{high - 1:g}" if whole else f"{low:g} to <{high:g}" for low, high in pairwise(edges)]
    return (f"<{edges[0]:g}", *between, f">={edges[-1]:g}")


def group_labels(column: Column, contract: CohortContract) -> tuple[str, ...]:
    """All groups that the contract foresees for one sensitive attribute, in order, without `not reported`."""
    if column.dtype == "category":
        return column.categories or ()
    if column.dtype == "boolean":
        return ("no", "yes")
    return band_labels(contract.bands[column.name], whole=column.dtype == "integer")
