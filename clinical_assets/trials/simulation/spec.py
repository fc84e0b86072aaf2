"""Declaration of a simulated cohort, as written in the `source` section of a contract. Reading it needs no numpy."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from clinical_assets.trials.column import Column
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.simulation.correlation import cholesky
from clinical_assets.trials.simulation.distributions import Marginal, Part, marginal_problems

_SIMULATED = ("feature", "ignored", "post_baseline")
"""Roles whose columns need a distribution; the others are made from the rest of the declaration."""


class Correlation(Part):
    """Correlation `r` of two columns on the scale of the Gaussian copula; pairs that are not named have none."""

    between: tuple[str, str]
    r: float = Field(gt=-1, lt=1)


class Weibull(Part):
    """Hazard proportional to t**(shape - 1): rising above shape 1, falling below it."""

    hazard: Literal["weibull"]
    shape: float = Field(gt=0)


class Piecewise(Part):
    """Constant hazards between `breaks` (days), given relative to each other: one more than breaks."""

    hazard: Literal["piecewise"]
    breaks: tuple[float, ...] = Field(min_length=1)
    relative: tuple[Annotated[float, Field(gt=0)], ...]

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.breaks[0] <= 0 or list(self.breaks) != sorted(set(self.breaks)):
            raise ValueError("breaks: give days after 0, in increasing order")
        if len(self.relative) != len(self.breaks) + 1:
            raise ValueError(f"relative: {len(self.breaks) + 1} hazards needed for {len(self.breaks)} breaks")
        return self


class FollowUp(Part):
    """`days` from the index date of the last patient to the end of the study, where everybody left is censored.

    `censored_share` is the share of censored subjects in the end; what the end of the study does not censor is lost by
    exponential drop-out.
    """

    days: float = Field(gt=0)
    censored_share: float = Field(ge=0, lt=1)


class Entry(Part):
    """Patients enter evenly between two dates, both included."""

    first: dt.date
    last: dt.date

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.first > self.last:
            raise ValueError("entry: `first` must not be after `last`")
        return self


class Simulation(Part):
    """How the rows are made.

    `effects` are log hazard ratios (binary endpoint: log odds ratios): per unit of a number, of true against false, of
    each category against those not named. A randomised arm is a categorical column without correlations.
    `event_rate` is the event probability by the endpoint's horizon (the share of positive labels), averaged over the
    cohort. `generator` is the version of the method: a change of method is a new version, so that pinned cohorts stay.
    """

    generator: Literal[1]
    seed: int = Field(ge=0)
    patients: int = Field(ge=1)
    columns: dict[str, Marginal]
    correlations: tuple[Correlation, ...] = ()
    effects: dict[str, float | dict[str, float]] = Field(default_factory=dict)
    event_rate: float = Field(gt=0, lt=1)
    baseline: Annotated[Weibull | Piecewise, Field(discriminator="hazard")] | None = None
    follow_up: FollowUp | None = None
    entry: Entry | None = None

    def check(self, contract: CohortContract) -> None:
        """
        Raises:
            ValueError: the simulation does not make exactly what `contract` declares; every problem is named.
        """
        problems = [*self._endpoint_problems(contract)]
        declared = {column.name: column for column in contract.columns if column.role in _SIMULATED}
        problems += [f"no distribution for column {name}" for name in declared if name not in self.columns]
        for name, marginal in self.columns.items():
            if name not in declared:
                problems.append(f"column {name} is not in the contract, or has its own rule")
            else:
                problems += marginal_problems(declared[name], marginal)
        for name, effect in self.effects.items():
            problems += _effect_problems(declared.get(name), name, effect)
        problems += [f"correlation of unknown column {name}" for name in self.correlated if name not in declared]
        if problems:
            raise ValueError("simulation: " + "; ".join(problems))

    @model_validator(mode="after")
    def _correlations_are_possible(self) -> Self:
        pairs = [correlation.between for correlation in self.correlations]
        if any(a == b for a, b in pairs) or len({frozenset(pair) for pair in pairs}) < len(pairs):
            raise ValueError("correlations: name each pair of two different columns once")
        cholesky(self.correlated, {item.between: item.r for item in self.correlations})
        return self

    @property
    def correlated(self) -> tuple[str, ...]:
        """Columns that take part in a correlation, in order of first mention."""
        return tuple(dict.fromkeys(name for item in self.correlations for name in item.between))

    def _endpoint_problems(self, contract: CohortContract) -> Iterator[str]:
        survival = contract.endpoint.kind == "survival"
        for name, given in (("baseline", self.baseline), ("follow_up", self.follow_up)):
            if (given is not None) != survival:
                yield f"`{name}` {'is missing' if survival else 'belongs to a survival endpoint'}"
        index_date = contract.index_date
        if (self.entry is not None) != (index_date.kind == "calendar"):
            yield "`entry` belongs to a calendar index date, and only there"
        elif index_date.kind == "calendar" and contract.with_role("index_date").dtype != "date":
            yield "the index date must be a column of dtype date"


def _effect_problems(column: Column | None, name: str, effect: float | dict[str, float]) -> Iterator[str]:
    if column is None:
        yield f"effect of unknown column {name}"
    elif (column.dtype == "category") != isinstance(effect, dict):
        yield f"effect of {name}: give {'one number for each category' if column.dtype == 'category' else 'one number'}"
    elif isinstance(effect, dict) and (unknown := sorted(set(effect) - set(column.categories or ()))):
        yield f"effect of {name}: unknown categories {', '.join(unknown)}"
