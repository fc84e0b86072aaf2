"""Figures that others published, or that were measured before, for the same cohorts."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent.parent / "published.csv"


@dataclass(frozen=True)
class Published:
    """Harrell's C or AUROC of a `procedure` on a cohort, as printed in `source`."""

    cancer: str
    procedure: str
    measure: str
    value: float
    source: str
    note: str


def published() -> dict[str, list[Published]]:
    """By cancer type, in the order of the file."""
    found: dict[str, list[Published]] = {}
    with FILE.open(newline="") as handle:
        for row in csv.DictReader(handle):
            entry = Published(
                *(row["cancer"], row["procedure"], row["measure"]), float(row["value"]), *(row["source"], row["note"])
            )
            found.setdefault(entry.cancer, []).append(entry)
    return found
