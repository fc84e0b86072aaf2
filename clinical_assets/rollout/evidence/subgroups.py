"""Does the challenger miss cases of one sex, age band or race that the champion would have found?

Among patients with the event, `W = w (1{p_A >= t} - 1{p_B >= t} - margin)` is the loss of sensitivity at the operating
threshold beyond a margin: two good models rarely agree on every case, and enough of them would prove any difference.
Each group has its bounded-mean test of `E[W | case, group] <= 0`; the plain average of their E tests "no group loses
more than the margin" at one alpha, however many groups were declared at the opening.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from clinical_assets.rollout.evidence.bets import FRACTION_WEIGHTS, EProcess, bet, bounded_mean
from clinical_assets.rollout.evidence.courses import Course, bets, multiplied, spread


@dataclass(frozen=True)
class SubgroupEvidence:
    """One test per group, in the order fixed at the opening; `log_peak` of their average."""

    groups: Mapping[str, EProcess]
    log_peak: float = 0.0

    @classmethod
    def start(cls, groups: Iterable[str]) -> SubgroupEvidence:
        return cls({name: bounded_mean() for name in groups})

    @property
    def n(self) -> int:
        """Cases in the largest group: below it nothing was compared."""
        return max((test.n for test in self.groups.values()), default=0)

    @property
    def log_e(self) -> float:
        if not self.groups:
            return 0.0
        return _log_average([test.log_e for test in self.groups.values()])

    @property
    def worst(self) -> str:
        """The group with the most evidence against it, "" without groups."""
        return max(self.groups, key=lambda name: self.groups[name].log_e, default="")

    def rejects(self, alpha: float) -> bool:
        return self.log_peak >= -math.log(alpha)

    def update(
        self, memberships: Iterable[str], lost: int, margin: float, weight: float = 1.0, max_weight: float = 1.0
    ) -> SubgroupEvidence:
        """One mature case. Groups that were not declared at the opening are left out.

        Args:
            lost: 1 if only the champion found the case, -1 if only the challenger did, else 0.
            margin: loss of sensitivity that is no harm.
        """
        moved = dict(self.groups)
        for name in memberships:
            if name in moved:
                moved[name] = bet(moved[name], weight * (lost - margin), -(1 + margin) * max_weight)
        state = SubgroupEvidence(moved, self.log_peak)
        return replace(state, log_peak=max(self.log_peak, state.log_e))

    def follow(
        self,
        memberships: Sequence[tuple[str, ...]],
        lost: np.ndarray,
        margin: float,
        weight: np.ndarray,
        max_weight: float = 1.0,
    ) -> tuple[SubgroupEvidence, Course]:
        """The same for n >= 1 cases in a row, and log E after each. No case names a group twice."""
        w, moved, courses = weight * (lost - margin), dict(self.groups), []
        for name, test in self.groups.items():
            inside = np.fromiter((name in told for told in memberships), bool, len(memberships))
            course = None
            if inside.any():
                moved[name], course = multiplied(test, bets(w[inside], -(1 + margin) * max_weight))
            courses.append(spread(test.log_e, course, inside))
        average = _average(courses, len(memberships))
        return SubgroupEvidence(moved, max(self.log_peak, average.highest())), average

    def to_json(self) -> dict[str, Any]:
        return {
            "groups": {name: [list(t.log_wealth), t.n, t.log_peak] for name, t in self.groups.items()},
            "peak": self.log_peak,
        }

    @classmethod
    def from_json(cls, state: dict[str, Any]) -> SubgroupEvidence:
        tests = {
            name: EProcess(FRACTION_WEIGHTS, tuple(log), n, peak) for name, (log, n, peak) in state["groups"].items()
        }
        return cls(tests, state["peak"])


def _log_average(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(x - top) for x in logs) / len(logs))


def _average(courses: Sequence[Course], n: int) -> Course:
    """log of the average E of all groups after each of n cases; 0 without groups."""
    if not courses:
        return Course(np.zeros(n), lambda _: 0.0, np.arange(n) == 0)
    rough = np.logaddexp.reduce([course.rough for course in courses], axis=0) - math.log(len(courses))
    changed = np.any([course.changed for course in courses], axis=0)
    return Course(rough, lambda i: _log_average([course.exactly(i) for course in courses]), changed)
