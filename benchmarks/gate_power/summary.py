"""From single cases to recall, false blocks and failed deployments, with exact intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gate_power.fault import FAULTS, Severity
from benchmarks.gate_power.running import Record
from clinical_assets.gates.verdict import GateName

Case = Mapping[str, Any]


@dataclass(frozen=True)
class Share:
    """`count` of `n`, with its exact 95 % interval (Clopper & Pearson 1934)."""

    count: int
    n: int

    @property
    def value(self) -> float:
        return self.count / self.n if self.n else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        from scipy.stats import beta

        low = float(beta.ppf(0.025, self.count, self.n - self.count + 1)) if self.count else 0.0
        high = float(beta.ppf(0.975, self.count + 1, self.n - self.count)) if self.count < self.n else 1.0
        return low, high

    def __str__(self) -> str:
        if not self.n:
            return "none"
        low, high = self.interval
        return f"{self.value:.1%} ({low:.1%} to {high:.1%}), {self.count} of {self.n}"


def named(case: Case) -> bool:
    """Blocked, and by one of the right checks."""
    return bool(case["named"])


def stopped(case: Case) -> bool:
    """Blocked by any check that let the clean release pass."""
    return bool(case["blocks"])


def kept(case: Case) -> bool:
    """Blocked, or kept from traffic by a required check that became INCONCLUSIVE."""
    return bool(case["blocks"] or case["held"])


@dataclass(frozen=True)
class Summary:
    records: Sequence[Record]

    @property
    def cases(self) -> list[Case]:
        return [{**case, "cancer": record.slug} for record in self.records for case in record.cases]

    @property
    def clean(self) -> list[Case]:
        return [{**one, "cancer": record.slug} for record in self.records for one in record.clean]

    def of(self, severity: str = "", gate: str = "", fault: str = "") -> list[Case]:
        return [
            case
            for case in self.cases
            if severity in ("", case["severity"]) and gate in ("", case["gate"]) and fault in ("", case["fault"])
        ]

    @property
    def false_blocks(self) -> Share:
        return Share(sum(bool(one["blocks"]) for one in self.clean), len(self.clean))

    @property
    def inconclusive(self) -> Share:
        """Clean releases whose scope a required INCONCLUSIVE check limits."""
        return Share(sum(bool(one["limited"]) for one in self.clean), len(self.clean))

    def reached(self, cases: Iterable[Case]) -> dict[str, int]:
        """Faulty releases that patients would meet: without any gate, behind the typical one, behind the five."""
        cases = list(cases)
        return {
            "ungated": len(cases),
            "typical gate": sum(not case["typical"] for case in cases),
            "five gates": sum(not stopped(case) for case in cases),
        }

    def reductions(self, cases: Iterable[Case]) -> dict[str, float]:
        """Share of the failed deployments that the five gates avoid, against either comparison."""
        reached = self.reached(cases)
        return {
            arm: 1.0 - reached["five gates"] / reached[arm] if reached[arm] else float("nan")
            for arm in ("ungated", "typical gate")
        }

    def seconds(self) -> dict[str, dict[str, float]]:
        """Median and 95th percentile of a gate's wall time on clean releases."""
        found: dict[str, list[float]] = {gate.value: [] for gate in GateName}
        for one in self.clean:
            for gate, seconds in one["seconds"].items():
                found[gate].append(seconds)
        return {
            gate: {"median": float(np.median(values)), "p95": float(np.quantile(values, 0.95))}
            for gate, values in found.items()
            if values
        }

    def document(self) -> dict[str, Any]:
        """The figures that the tables show, for machines."""
        shares = {
            severity.value: {
                gate: {
                    what: Share(sum(map(test, found)), len(found)).__dict__
                    for what, test in (("named", named), ("stopped", stopped), ("kept", kept))
                }
                for gate in ("", *(one.value for one in GateName))
                if (found := self.of(severity.value, gate))
            }
            for severity in Severity
        }
        medium = self.of(Severity.MEDIUM.value)
        return {
            "recall": {severity: {gate or "all": counts for gate, counts in found.items()}
                       for severity, found in shares.items()},
            "clean": {"blocked": self.false_blocks.__dict__, "limited": self.inconclusive.__dict__},
            "reached_traffic": {"medium": self.reached(medium), "all": self.reached(self.cases)},
            "failed_deployments_avoided": {"medium": self.reductions(medium), "all": self.reductions(self.cases)},
            "seconds": self.seconds(),
            "faults": len(FAULTS),
        }  # fmt: skip
