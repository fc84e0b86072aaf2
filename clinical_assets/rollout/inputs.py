"""Four values of an input to a decision. Only `OK` is ever compared with a threshold."""

from __future__ import annotations

from enum import StrEnum


class Reading(StrEnum):
    """Whether an input may be used: missing or scarce data are neither good nor bad news."""

    OK = "OK"
    NO_DATA = "NO_DATA"
    INSUFFICIENT = "INSUFFICIENT"
    CONFIG_ERROR = "CONFIG_ERROR"


def by_count(n: int, minimum: int) -> Reading:
    """The reading of a statistic over `n` observations."""
    if not n:
        return Reading.NO_DATA
    return Reading.OK if n >= minimum else Reading.INSUFFICIENT
