"""One column of a cohort: what it means, in which unit, when it is known, and what it may hold."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from clinical_assets.trials.placeholder import TO_BE_COMPLETED

UNITS = (
    "1", "count", "score", "percent", "day", "week", "month", "year", "mm", "cm", "cm2", "m2", "um", "um2", "kg", "g",
    "lb", "kcal/day", "fmol/mg", "ng/mL", "ug/L", "mg/dL", "g/dL", "g/L", "umol/L", "mmol/L", "U/L", "[ka'U]", "10^9/L",
    "mm[Hg]", "cm[Hg]",
)  # fmt: skip
"""Units a column may declare: UCUM-like spellings; `1` is a pure number. `count` and `score` are counted or graded."""

RESERVED = ("subject_id", "index_date", "available_at", "time", "event", "label")
"""Names that the canonical table uses itself."""

Role = Literal["subject", "index_date", "time", "event", "label", "feature", "post_baseline", "ignored"]
DType = Literal["number", "integer", "category", "boolean", "date"]


class Column(BaseModel):
    """`available_at` is in days relative to the index date: 0 or less is known at prediction time, more is a leak,
    None is unknown. `recode` maps every code of the source to the contract's value; a code outside it is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    role: Role
    dtype: DType = "number"
    source: str = Field("", description="name in the source, when it differs")
    description: str = ""
    unit: str | None = None
    plausible_range: tuple[float, float] | None = None
    categories: tuple[str, ...] | None = None
    recode: dict[str, str | float] | None = None
    available_at: int | None = None
    sensitive: bool = False
    max_missing: float = Field(0.05, ge=0, le=1)
    reason: str = Field("", description="why the column is ignored or post-baseline")

    @property
    def source_name(self) -> str:
        return self.source or self.name

    @property
    def measured(self) -> bool:
        """Has a unit and a range."""
        return self.dtype in ("number", "integer")

    @property
    def numeric(self) -> bool:
        """float64 in the canonical table (booleans are 0 and 1); a category is text."""
        return self.dtype in ("number", "integer", "boolean")

    @field_validator("recode", mode="before")
    @classmethod
    def _codes_are_text(cls, value: object) -> object:
        return {str(code): meaning for code, meaning in value.items()} if isinstance(value, dict) else value

    @field_validator("unit")
    @classmethod
    def _known_unit(cls, value: str | None) -> str | None:
        if value is not None and value not in (*UNITS, TO_BE_COMPLETED):
            raise ValueError(f"unit {value!r} is not known; use one of {', '.join(UNITS)}")
        return value

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.role in ("ignored", "post_baseline"):
            if not self.reason:
                raise ValueError(f"column {self.name}: role {self.role} needs a `reason`")
            if not self.sensitive:
                return self
        if self.sensitive and self.role not in ("feature", "ignored"):
            raise ValueError(f"column {self.name}: only a feature or an ignored column can be `sensitive`")
        if self.role == "feature" or self.sensitive:
            self._check_values()
        return self

    def _check_values(self) -> None:
        if self.name in RESERVED:
            raise ValueError(f"column {self.name}: the name is reserved; rename it and give the old name as `source`")
        if self.dtype == "date":
            raise ValueError(f"column {self.name}: a date cannot be a feature; derive a duration in days instead")
        if self.measured:
            if self.unit is None:
                raise ValueError(f"column {self.name}: add `unit` (one of {', '.join(UNITS)})")
            if self.plausible_range is None or not self.plausible_range[0] < self.plausible_range[1]:
                raise ValueError(f"column {self.name}: add `plausible_range: [low, high]` with low < high")
        if self.dtype == "category":
            if not self.categories or len(set(self.categories)) != len(self.categories) or len(self.categories) < 2:
                raise ValueError(f"column {self.name}: add `categories` with at least two different values")
            unknown = sorted({str(v) for v in (self.recode or {}).values()} - set(self.categories))
            if unknown:
                raise ValueError(f"column {self.name}: `recode` leads to {unknown}, which `categories` does not list")
        elif self.categories is not None:
            raise ValueError(f"column {self.name}: `categories` belongs to dtype category, not {self.dtype}")
