"""What is predicted, and from which moment on."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DAYS_PER_UNIT = {"days": 1.0, "weeks": 7.0, "months": 30.4375, "years": 365.25}


class Endpoint(BaseModel):
    """A time-to-event endpoint with its horizon, or a binary label.

    `event_rate_band` holds the event probability by the horizon (1 - Kaplan-Meier at `horizon_days`; the share of
    positive labels for a binary endpoint). Unlike the crude share of events it does not move with the data cut.
    `decision_threshold` is the risk at which care would change; it is declared here, before any test split is opened.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["survival", "binary"]
    name: str
    event_rate_band: tuple[float, float]
    decision_threshold: float = Field(gt=0, lt=1)
    horizon_days: float | None = Field(None, gt=0)
    time_unit: Literal["days", "weeks", "months", "years"] = "days"
    time_for_zero: float | None = Field(
        None, gt=0, description="in `time_unit`, what stands for a time of 0 where the source rounds down"
    )
    definition: str = Field("", description="what counts as the event, and what censors")

    @property
    def days_per_unit(self) -> float:
        return DAYS_PER_UNIT[self.time_unit]

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        low, high = self.event_rate_band
        if not 0 <= low < high <= 1:
            raise ValueError("`event_rate_band` must be [low, high] with 0 <= low < high <= 1")
        if (self.kind == "survival") != (self.horizon_days is not None):
            raise ValueError("`horizon_days` is required for a survival endpoint, and only there")
        if self.kind != "survival" and self.time_for_zero is not None:
            raise ValueError("`time_for_zero` belongs to a survival endpoint")
        return self


class _IndexDate(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    note: str = Field(description="which clinical moment this is, and how exact the date is")


class CalendarIndexDate(_IndexDate):
    """A real calendar date: a date column; a year column with `day_of_year`; a column of eras with a date each; or a
    column of days counted from `days_since`.
    """

    kind: Literal["calendar"]
    column: str
    day_of_year: str | None = Field(None, pattern=r"^\d\d-\d\d$", description="MM-DD, for a column that holds years")
    eras: dict[str, dt.date] | None = None
    days_since: dt.date | None = Field(None, description="day 0 of a column that counts days (SAS: 1960-01-01)")

    @field_validator("eras", mode="before")
    @classmethod
    def _codes_are_text(cls, value: object) -> object:
        return {str(code): date for code, date in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(way is not None for way in (self.day_of_year, self.eras, self.days_since)) > 1:
            raise ValueError("give one of `day_of_year`, `eras` and `days_since`")
        if self.day_of_year is not None:
            dt.date.fromisoformat(f"2001-{self.day_of_year}")
        return self


class NominalIndexDate(_IndexDate):
    """The source has no calendar time: every subject gets the same date, and no data cut can be made."""

    kind: Literal["nominal"]
    date: dt.date


IndexDate = Annotated[CalendarIndexDate | NominalIndexDate, Field(discriminator="kind")]
