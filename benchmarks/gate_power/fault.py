"""What a fault is: a named way to spoil a release, three severities, and the checks that ought to say so."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import numpy as np

from benchmarks.gate_power.releases import Release
from clinical_assets.gates.facts import ReleaseFacts
from clinical_assets.gates.verdict import GateName

T = TypeVar("T")
Injection = Callable[["Release", "Severity"], "ReleaseFacts | None"]


class Severity(StrEnum):
    MILD = "mild"
    MEDIUM = "medium"
    SEVERE = "severe"

    def of(self, mild: T, medium: T, severe: T) -> T:
        """The one of three sizes that this severity means."""
        return {Severity.MILD: mild, Severity.MEDIUM: medium, Severity.SEVERE: severe}[self]


@dataclass(frozen=True)
class Fault:
    """`checks` are the ids of which one at least must block; `inject` gives None where the cohort cannot have it."""

    name: str
    gate: GateName
    checks: tuple[str, ...]
    inject: Injection


FAULTS: dict[str, Fault] = {}


def fault(gate: GateName, name: str, *checks: str) -> Callable[[Injection], Injection]:
    """Register an injection.

    Raises:
        ValueError: the name is taken, or no check is named.
    """

    def register(inject: Injection) -> Injection:
        if name in FAULTS or not checks:
            raise ValueError(f"fault {name!r} is registered twice, or names no check")
        FAULTS[name] = Fault(name, gate, checks, inject)
        return inject

    return register


def generator(release: Release, name: str) -> np.random.Generator:
    """Fixed by cohort and fault, so that a run can be repeated."""
    return np.random.default_rng(zlib.crc32(f"{release.facts.cancer}/{name}".encode()))
