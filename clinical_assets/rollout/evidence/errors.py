"""Service errors, counted by the data plane: is the challenger worse than the champion, or worse than the objective?

Both tests read increments of cumulative counters, so a look costs the same whatever the traffic.

Ratio test. Under equal error rates, each error of an interval falls on the challenger with its share of that
interval's requests. Given the counts the errors are drawn without replacement, and the convex likelihood ratio then has
at most its binomial expectation (Hoeffding 1963), so its product is a test supermartingale.
Objective test. Bernoulli likelihood ratios against p <= p0 (Wald), mixed over alternatives up to a total failure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from clinical_assets.rollout.evidence.bets import EProcess

RATIOS = (1.5, 3.0, 10.0)
"""Alternatives of the ratio test: challenger's error rate over the champion's."""

MULTIPLES = (2.0, 5.0, 20.0)
"""Alternatives of the objective test as multiples of p0; the fourth is a challenger that fails every other request."""

BROKEN = 0.5


@dataclass(frozen=True)
class ErrorEvidence:
    """State of the service tests, and the (requests, errors) of each variant so far.

    `champion_objective` is the objective test of the champion: when both variants miss the objective, a way back to
    the champion is no cure.
    """

    ratio: EProcess
    objective: EProcess
    champion_objective: EProcess
    champion: tuple[int, int] = (0, 0)
    challenger: tuple[int, int] = (0, 0)

    @classmethod
    def start(cls) -> ErrorEvidence:
        quarters = EProcess.start((0.25, 0.25, 0.25, 0.25))
        return cls(EProcess.start((1 / 3, 1 / 3, 1 / 3)), quarters, quarters)

    def update(self, champion: tuple[int, int], challenger: tuple[int, int], p0: float) -> ErrorEvidence:
        """One interval's new (requests, errors) of each variant; `p0` is the error objective, below 1/2.

        Raises:
            ValueError: negative counts, or more errors than requests.
        """
        for n, errors in (champion, challenger):
            if not 0 <= errors <= n:
                raise ValueError(f"{errors} errors of {n} requests")
        return ErrorEvidence(
            ratio_test(self.ratio, champion, challenger),
            _objective(self.objective, challenger, p0),
            _objective(self.champion_objective, champion, p0),
            (self.champion[0] + champion[0], self.champion[1] + champion[1]),
            (self.challenger[0] + challenger[0], self.challenger[1] + challenger[1]),
        )

    def to_json(self) -> dict[str, Any]:
        tests = {name: getattr(self, name).to_json() for name in ("ratio", "objective", "champion_objective")}
        return {**tests, "champion": list(self.champion), "challenger": list(self.challenger)}

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> ErrorEvidence:
        names = ("ratio", "objective", "champion_objective")
        ratio, objective, of_champion = (EProcess.from_json(state[name]) for name in names)
        champion, challenger = state["champion"], state["challenger"]
        return cls(ratio, objective, of_champion, (champion[0], champion[1]), (challenger[0], challenger[1]))


def ratio_test(
    process: EProcess, champion: tuple[int, int], challenger: tuple[int, int], allowed: float = 1.0
) -> EProcess:
    """One interval's (requests, failures) of both variants: are the challenger's odds at most `allowed` times as high?

    Given the counts, the challenger's failures are then a sum of independent indicators with at most the mean of the
    binomial used here, so the convex ratio keeps its expectation (Hoeffding 1956).
    """
    (n_a, errors_a), (n_b, errors_b) = champion, challenger
    if not n_a or not n_b or not errors_a + errors_b:
        return process
    odds = allowed * n_b / n_a
    share = odds / (1 + odds)
    shares = [share * r / (share * r + 1 - share) for r in RATIOS]
    factors = [errors_b * math.log(q / share) + errors_a * math.log((1 - q) / (1 - share)) for q in shares]
    return process.multiply(factors, errors_a + errors_b)


def objective_factors(counts: tuple[int, int], p0: float) -> list[float]:
    """Log likelihood ratios of one interval's (requests, errors) against an error rate of at most `p0`."""
    n, errors = counts
    rates = [min(m * p0, BROKEN) for m in MULTIPLES] + [BROKEN]
    return [errors * math.log(p / p0) + (n - errors) * math.log((1 - p) / (1 - p0)) for p in rates]


def _objective(process: EProcess, counts: tuple[int, int], p0: float) -> EProcess:
    return process.multiply(objective_factors(counts, p0), counts[0]) if counts[0] else process
