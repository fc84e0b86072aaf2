"""How much is searched, by how much there is to learn from: every threshold in one place."""

from __future__ import annotations

from dataclasses import dataclass

from clinical_assets.modeling.folds import fewest_of_a_kind
from clinical_assets.modeling.options import FLOOR, Family
from clinical_assets.modeling.outcomes import Outcomes

FEWEST_EVENTS = 4
"""Below this, no model: three folds need an event each, and a fit without each pair of them needs one more."""
FLOOR_ONLY_EVENTS = 20
"""Below this, choosing among families is choosing by chance."""
EVENTS_PER_FOLD = 3
SURVIVAL_ONLY: tuple[Family, ...] = ("rsf",)
FEWEST_FOLDS = 3

LARGE_ROWS = 30_000
"""Rows that a training set of the cross-validation holds at most; a larger cohort is thinned out by strata."""
MANY_ROWS = 100_000
"""From here on, out-of-fold predictions take the fewest folds: each is trained on as many rows anyway."""
FINAL_ROWS: dict[Family, int] = {"xgboost": 300_000, "discrete": 100_000, "torch": 50_000, "rsf": 10_000}
"""Rows that the final fit of a family uses at most; the floor uses all."""


@dataclass(frozen=True)
class Plan:
    """What is trained on what. `rows` bounds the training sets of the cross-validation; `reason` is for people."""

    families: tuple[Family, ...]
    folds: int
    rows: int
    reason: str

    def final_rows(self, family: Family, rows: int) -> int:
        return min(FINAL_ROWS.get(family, rows), rows)


def plan_for(outcomes: Outcomes, families: tuple[Family, ...], folds: int) -> Plan:
    """The plan for the training subjects; events are the rarer label of a binary endpoint.

    Args:
        families: that the options allow.
        folds: that the options ask for; small and very large cohorts get fewer.

    Raises:
        ValueError: fewer than `FEWEST_EVENTS` events.
    """
    events = fewest_of_a_kind(outcomes)
    if outcomes.kind == "binary":
        families = tuple(family for family in families if family not in SURVIVAL_ONLY)
    if events < FEWEST_EVENTS:
        rarer = "events" if outcomes.kind == "survival" else "subjects with the rarer label"
        raise ValueError(
            f"{outcomes.n} training subjects with {events} {rarer}: at least {FEWEST_EVENTS} are needed to learn from; "
            "wait for follow-up, or pool the cohort with one of the same question"
        )
    possible = max(FEWEST_FOLDS, min(folds, events // EVENTS_PER_FOLD))
    if events < FLOOR_ONLY_EVENTS:
        reason = f"{events} training events, fewer than {FLOOR_ONLY_EVENTS}: the floor alone, in {possible} folds"
        return Plan((FLOOR,), possible, LARGE_ROWS, reason)
    if outcomes.n > MANY_ROWS:
        reason = f"{outcomes.n} subjects: {FEWEST_FOLDS} folds, families compared on {LARGE_ROWS} rows each"
        return Plan(families, FEWEST_FOLDS, LARGE_ROWS, reason)
    return Plan(families, possible, LARGE_ROWS, f"{events} training events in {possible} folds")
