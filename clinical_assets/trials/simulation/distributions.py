"""How the values of one simulated column are distributed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clinical_assets.trials.column import Column

Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A strict part of the declaration."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Values(Part):
    """`missing`: share of the rows in which the value is missing, completely at random."""

    missing: float = Field(0.0, ge=0, lt=1)


class _Measured(_Values):
    """Rounded to `decimals` (a column of dtype integer: to whole numbers)."""

    decimals: int = Field(1, ge=0, le=6)


class Normal(_Measured):
    """Truncated to the column's plausible range; `mean` and `sd` are those before truncation."""

    distribution: Literal["normal"]
    mean: float
    sd: float = Field(gt=0)


class LogNormal(_Measured):
    """Truncated like `Normal`; `log_sd` is the standard deviation of the natural logarithm."""

    distribution: Literal["lognormal"]
    median: float = Field(gt=0)
    log_sd: float = Field(gt=0)


class Count(_Values):
    """Poisson, truncated to the column's plausible range."""

    distribution: Literal["count"]
    mean: float = Field(gt=0, le=500)


class Categorical(_Values):
    """Share of each category; ordered, for correlations, as in the contract's `categories`."""

    distribution: Literal["categorical"]
    shares: dict[str, Share]

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(sum(self.shares.values()) - 1.0) > 1e-9:
            raise ValueError(f"shares: sum to {sum(self.shares.values()):g}, not to 1")
        return self


class Bernoulli(_Values):
    """True in `share` of the rows."""

    distribution: Literal["bernoulli"]
    share: Share


Marginal = Annotated[Normal | LogNormal | Count | Categorical | Bernoulli, Field(discriminator="distribution")]
_DTYPES: dict[str, tuple[str, ...]] = {
    "normal": ("number", "integer"),
    "lognormal": ("number", "integer"),
    "count": ("number", "integer"),
    "categorical": ("category",),
    "bernoulli": ("boolean",),
}


def marginal_problems(column: Column, marginal: Marginal) -> Iterator[str]:
    """Why `marginal` cannot give the values of `column`."""
    if column.dtype not in _DTYPES[marginal.distribution]:
        yield f"column {column.name}: a {marginal.distribution} distribution does not give a {column.dtype}"
    elif isinstance(marginal, Categorical):
        if set(marginal.shares) != set(column.categories or ()):
            yield f"column {column.name}: shares must name the categories {', '.join(column.categories or ())}"
    elif column.measured and column.plausible_range is None:
        yield f"column {column.name}: `plausible_range` is needed"
    if marginal.missing > column.max_missing:
        yield f"column {column.name}: missing {marginal.missing:g} is more than its max_missing {column.max_missing:g}"
    if column.recode is not None:
        yield f"column {column.name}: leave out `recode`, the values are made as the contract names them"
