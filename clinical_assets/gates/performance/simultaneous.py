"""When is there evidence against a model? Joint intervals over every set and measure that a check looks at.

A finding against the model needs two things: the estimate lies beyond what is accepted, and the joint interval excludes
what a sound model would give. One without the other is chance (small sets) or immaterial (large ones). The level is
shared out evenly among the looks (Bonferroni); quantiles are Student's, with the events as degrees of freedom, because
the standard errors come from as few patients as that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOTH = "all sets together"


@dataclass(frozen=True)
class Estimate:
    """A measure in one set of patients, on a scale on which it is nearly normal; `error` is its standard error."""

    name: str
    value: float
    error: float
    events: int

    def bounds(self, level: float, looks: int = 1) -> tuple[float, float]:
        """Interval that holds jointly with those of `looks` - 1 others."""
        from scipy.stats import t

        reach = self.error * float(t.ppf(1.0 - (1.0 - level) / (2 * looks), max(self.events - 1, 1)))
        return self.value - reach, self.value + reach


def known(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Those whose value and standard error exist."""
    return [one for one in estimates if np.isfinite(one.value) and np.isfinite(one.error) and one.error > 0.0]


def pooled(estimates: Sequence[Estimate]) -> list[Estimate]:
    """The estimates that exist and, from two on, their inverse-variance mean: sets share no patient.

    The mean counts for as many events as Welch and Satterthwaite's degrees of freedom say, and no more than all.
    """
    found = known(estimates)
    if len(found) < 2:
        return found
    weight = np.array([one.error**-2.0 for one in found])
    value = float(weight @ [one.value for one in found] / weight.sum())
    freedom = weight.sum() ** 2 / np.sum(weight**2 / [max(one.events - 1, 1) for one in found])
    return [*found, Estimate(BOTH, value, float(weight.sum() ** -0.5), int(freedom) + 1)]


def evidence_below(
    estimates: Sequence[Estimate], sound: float, accepted: float, level: float, looks: int
) -> Estimate | None:
    """The clearest estimate that is under `accepted` and whose joint interval lies under `sound`, if there is one.

    sound: the value of a model without fault. accepted: the last value that is no fault; at most `sound`.
    """
    found = [one for one in estimates if one.value < accepted and one.bounds(level, looks)[1] < sound]
    return min(found, key=lambda one: (one.value - sound) / one.error, default=None)


def evidence_above(
    estimates: Sequence[Estimate], sound: float, accepted: float, level: float, looks: int
) -> Estimate | None:
    """As `evidence_below`, for values above `accepted`."""
    turned = [Estimate(one.name, -one.value, one.error, one.events) for one in estimates]
    found = evidence_below(turned, -sound, -accepted, level, looks)
    return None if found is None else Estimate(found.name, -found.value, found.error, found.events)
