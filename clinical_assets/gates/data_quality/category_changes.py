"""DQ14: categories that nobody declared, that only one side has, or that have vanished."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from clinical_assets.gates.checks import Case, Finding, check
from clinical_assets.gates.data_quality.reference_cohort import Comparison, categories, comparisons
from clinical_assets.gates.verdict import GateName, Verdict
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.small_cells import shown

VANISHING = 0.1
"""Share of its former frequency below which a category is said to be fading."""
DOUBTFUL = 0.01
"""Probability, shared among all categories, below which a change is no longer put down to chance without a word."""


@dataclass(frozen=True)
class Change:
    """One category that came, went or faded. `chance`: probability of this under equal frequencies."""

    what: str
    column: str
    category: str
    before: int
    after: int
    chance: float

    def __str__(self) -> str:
        return (
            f"{self.column} = {self.category!r} {self.what} ({shown(self.before)} rows before, {shown(self.after)} now)"
        )


@check(GateName.DATA_QUALITY, "DQ14", "New and dropped categories", "categories that came or went beyond chance")
def category_changes(case: Case) -> Finding:
    """Undeclared categories block at once; declared ones that came or went, where chance does not explain it."""
    facts, policy = case.facts, case.policy.data_quality
    frame = pd.concat([facts.train, facts.test], ignore_index=True)
    compared = comparisons(case)
    undeclared = _undeclared(frame, facts.contract)
    listed = [column for column in facts.contract.attributes if column.dtype == "category" and column.name in frame]
    changes = [
        change
        for comparison in compared
        for change in category_counts(comparison, facts.contract, policy.dropped_category_share)
    ]
    looks = max(1, sum(len(column.categories or ()) for column in listed) * len(compared))
    beyond = [change for change in changes if change.what != "is fading" and change.chance < policy.coincidence / looks]
    doubtful = [change for change in changes if change not in beyond and change.chance < DOUBTFUL / looks]
    common: dict[str, Any] = {
        "value": float(len(undeclared) + len(beyond)),
        "n": len(frame),
        "threshold": f"0 undeclared; 0 new, 0 dropped (> {policy.dropped_category_share:.0%}) beyond chance",
        "threshold_source": "the contract; deepchecks NewCategoryTrainTest 0",
        "details": {"undeclared": undeclared, "changes": [str(change) for change in changes]},
    }
    if undeclared:
        text = ", ".join(f"{what} ({shown(rows)} rows)" for what, rows in list(undeclared.items())[:4])
        return Finding(
            Verdict.BLOCK,
            f"categories that the contract does not list: {text}",
            "recode them, or extend the contract",
            **common,
        )
    remedy = "look for a changed code list or a missing site; declare and review what is meant to change"
    if beyond:
        return Finding(Verdict.BLOCK, "; ".join(map(str, beyond[:4])), remedy, **common)
    if not listed:
        common["value"] = None
        return Finding(Verdict.PASS, "does not apply: no column holds categories", **common)
    if doubtful:
        text = "; ".join(map(str, doubtful[:4]))
        return Finding(Verdict.WARN, f"{text}: chance hardly explains it", remedy, **common)
    text = f"{len(changes)} categories of few rows came or went, as chance has it" if changes else "none came or went"
    return Finding(Verdict.PASS, f"categories of {len(listed)} columns: {text}", **common)


def _undeclared(frame: pd.DataFrame, contract: CohortContract) -> dict[str, int]:
    """`column = category` -> rows, for the categories that the contract does not list."""
    return {
        f"{column.name} = {str(category)[:40]!r}": int(rows)
        for column in contract.attributes
        if column.dtype == "category" and column.name in frame
        for category, rows in categories(frame, column.name).items()
        if category not in (column.categories or ())
    }


def category_counts(comparison: Comparison, contract: CohortContract, dropped: float) -> list[Change]:
    """What came, went or faded between the two sides of one comparison.

    The probability is hypergeometric: all (or that few) rows of a category falling on one side by chance.
    """
    from scipy.stats import hypergeom

    found = []
    for column in comparison.columns(contract):
        if column.dtype != "category":
            continue
        reference, current = (categories(frame, column.name) for frame in (comparison.reference, comparison.current))
        m, n = int(reference.sum()), int(current.sum())
        if not m or not n:
            continue
        for category in reference.index.union(current.index):
            before, after = int(reference.get(category, 0)), int(current.get(category, 0))
            both = before + after
            if not before:
                found.append(
                    Change("is new", column.name, category, 0, after, float(hypergeom.sf(after - 1, m + n, both, n)))
                )
            elif before > dropped * m and after / n < VANISHING * before / m:
                what = "is gone" if not after else "is fading"
                found.append(
                    Change(what, column.name, category, before, after, float(hypergeom.cdf(after, m + n, both, n)))
                )
    return found
