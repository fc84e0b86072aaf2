"""The contract of a cohort: its columns, its endpoint, its index date. Data that deviates from it is stopped."""

from __future__ import annotations

from functools import cached_property
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.trials.column import UNITS, Column
from clinical_assets.trials.endpoint import CalendarIndexDate, Endpoint, IndexDate, NominalIndexDate

__all__ = ["UNITS", "CalendarIndexDate", "CohortContract", "Column", "Endpoint", "IndexDate", "NominalIndexDate"]


class OtherColumns(BaseModel):
    """Undeclared source columns, by a shell-style pattern, that the cohort does without: `gene_*`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str = Field(min_length=1)
    reason: str = Field(min_length=1)


class CohortContract(BaseModel):
    """Every column of the source appears in `columns`, in the order of the canonical table, or matches one of
    `other_columns` (for wide sources). A column that leaks the outcome is declared by name, as post-baseline.

    `bands` cuts a sensitive numeric column into groups: `age: [50, 65]` gives `<50`, `50-64`, `>=65`.
    `not_collected` names attributes that a fairness audit would want and the source does not hold.
    `subject_from: row_number` numbers the rows of a source without identifiers, whose content must then be pinned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: Endpoint
    index_date: IndexDate
    columns: tuple[Column, ...]
    other_columns: tuple[OtherColumns, ...] = ()
    bands: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    not_collected: tuple[str, ...] = ()
    subject_from: Literal["column", "row_number"] = "column"

    @cached_property
    def features(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role == "feature")

    @cached_property
    def sensitive(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.sensitive)

    @cached_property
    def attributes(self) -> tuple[Column, ...]:
        """Features, then sensitive columns that are no features: the value columns of the canonical table."""
        return self.features + tuple(column for column in self.sensitive if column.role != "feature")

    @property
    def outcome_names(self) -> tuple[str, ...]:
        return ("time", "event") if self.endpoint.kind == "survival" else ("label",)

    @property
    def table_columns(self) -> tuple[str, ...]:
        """Column names of the canonical table, in order."""
        return ("subject_id", "index_date", *(column.name for column in self.attributes), *self.outcome_names)

    @cached_property
    def digest(self) -> str:
        return sha256_json(self.model_dump(mode="json"))

    def with_role(self, role: str) -> Column:
        """The only column of a role that occurs once (`subject`, `time`, `event`, `label`, `index_date`)."""
        return next(column for column in self.columns if column.role == role)

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for kind, names in (
            ("name", [column.name for column in self.columns]),
            ("source", [column.source_name for column in self.columns]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"columns: {kind} {', '.join(twice)} appears more than once")
        expected = {
            "subject": int(self.subject_from == "column"),
            "index_date": int(self.index_date.kind == "calendar"),
            "time": int(self.endpoint.kind == "survival"),
            "event": int(self.endpoint.kind == "survival"),
            "label": int(self.endpoint.kind == "binary"),
        }
        for role, needed in expected.items():
            found = [column.name for column in self.columns if column.role == role]
            if len(found) != needed:
                raise ValueError(
                    f"columns: {needed} of role {role} needed for a {self.endpoint.kind} endpoint with "
                    f"{self.index_date.kind} index date and subject_from {self.subject_from}, found {found or 'none'}"
                )
        if not self.features:
            raise ValueError("columns: at least one column of role feature is needed")
        self._check_index_date()
        self._check_bands()
        return self

    def _check_index_date(self) -> None:
        rule = self.index_date
        if rule.kind == "nominal":
            return
        column = self.with_role("index_date")
        if column.name != rule.column:
            raise ValueError(
                f"index_date.column is {rule.column!r}, but the column of role index_date is {column.name!r}"
            )
        if (rule.day_of_year, rule.eras, rule.days_since) == (None, None, None) and column.dtype != "date":
            ways = "`day_of_year`, `eras` or `days_since`"
            raise ValueError(f"column {column.name}: dtype must be date, or index_date needs {ways}")

    def _check_bands(self) -> None:
        needed = {column.name for column in self.sensitive if column.measured}
        if needed != set(self.bands):
            raise ValueError(
                f"bands must name exactly the sensitive numeric columns: expected {sorted(needed) or 'none'}, "
                f"found {sorted(self.bands) or 'none'}"
            )
        for name, edges in self.bands.items():
            if not edges or list(edges) != sorted(set(edges)):
                raise ValueError(f"bands.{name}: give at least one edge, in increasing order")
