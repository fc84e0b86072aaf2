"""Whether patients stand behind a cohort. Whatever is shown of one without patients carries the stamp."""

from __future__ import annotations

from typing import Literal

DataStatus = Literal["real", "real-simplified", "real-thin", "simulated"]

STAMP = "SIMULATED DATA"
SUBJECT_PREFIX = "simulated-"
"""How the identifiers of simulated subjects begin, so that a single row betrays its origin."""


def stamped(title: str, status: DataStatus) -> str:
    """`title` as people see it: the title of anything made from simulated data begins with `STAMP`."""
    return f"{STAMP}: {title}" if status == "simulated" else title
