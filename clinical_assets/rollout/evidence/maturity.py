"""When a patient may enter an outcome test, and with which weight if follow-up was cut short.

A patient enters at prediction + horizon and never earlier: counting early events, or treating the unlabelled as
event-free, promotes worse models. Patients censored before the horizon weigh nothing; the others carry
`min(1/G, cap)`, where G is the chance of still being followed (Graf et al. 1999), estimated once from training data and
frozen at the opening of the rollout.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

KNOT_DROP = 0.002
"""A frozen curve keeps a knot whenever the curve has fallen by this much."""


class CensoringCurve(BaseModel):
    """Step function `G(t-)`: probability of not being censored before `t` days; 1 up to and including `times[0]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    times: tuple[float, ...] = ()
    survival: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _falls(self) -> CensoringCurve:
        falls = list(self.survival) == sorted(self.survival, reverse=True)
        rises = list(self.times) == sorted(set(self.times))
        if len(self.times) != len(self.survival) or not falls or not rises:
            raise ValueError("a censoring curve needs rising times and falling survival of the same length")
        if any(not 0 < s <= 1 for s in self.survival):
            raise ValueError(
                "a censoring curve must stay within (0, 1]; end it where the last subject is still followed"
            )
        return self

    def before(self, time: float) -> float:
        """`G(time-)`: censorings at `time` itself do not count."""
        index = bisect.bisect_left(self.times, time)
        return self.survival[index - 1] if index else 1.0

    def weight(self, time: float, cap: float) -> float:
        return min(1.0 / self.before(time), cap)

    def weights(self, times: np.ndarray, cap: float) -> np.ndarray:
        """`weight` of (n,) times."""
        before = np.array((1.0, *self.survival))[np.searchsorted(np.array(self.times), times, side="left")]
        return np.minimum(1.0 / before, cap)


def censoring_curve(times: Sequence[float], events: Sequence[int], horizon: float) -> CensoringCurve:
    """Kaplan-Meier curve of censoring up to `horizon` days; events leave the risk set before censorings at ties.

    Args:
        times: (n,) follow-up in days. events: (n,) 1 = event, 0 = censored.
    """
    subjects = sorted(zip((float(t) for t in times), (int(e) for e in events), strict=True))
    at_risk, g, last = len(subjects), 1.0, 1.0
    knots: list[tuple[float, float]] = []
    position = 0
    while position < len(subjects) and subjects[position][0] < horizon:
        time, censored, leaving = subjects[position][0], 0, 0
        while position < len(subjects) and subjects[position][0] == time:
            leaving += 1
            censored += 1 - subjects[position][1]
            position += 1
        still_followed = at_risk - (leaving - censored)
        if censored and still_followed > censored:
            g *= 1 - censored / still_followed
            if last - g >= KNOT_DROP:
                knots.append((time, g))
                last = g
        at_risk -= leaving
    return CensoringCurve(times=tuple(t for t, _ in knots), survival=tuple(s for _, s in knots))


def outcome_at_horizon(time: float, event: int, horizon: float, curve: CensoringCurve, cap: float) -> tuple[int, float]:
    """(outcome, weight) at `horizon` days: weight 0 for a patient censored before it.

    The status is known when follow-up lasted to min(event time, horizon), hence the weight 1 / G(min(time, horizon)-).
    """
    if event and time <= horizon:
        return 1, curve.weight(time, cap)
    if time >= horizon:
        return 0, curve.weight(horizon, cap)
    return 0, 0.0


def outcomes_at_horizon(
    times: np.ndarray, events: np.ndarray, horizon: float, curve: CensoringCurve, cap: float
) -> tuple[np.ndarray, np.ndarray]:
    """`outcome_at_horizon` of n patients, all (n,)."""
    died, followed = (events != 0) & (times <= horizon), times >= horizon
    weights = np.where(died, curve.weights(times, cap), np.where(followed, curve.weight(horizon, cap), 0.0))
    return died.astype(float), weights
