"""Declaration of a source, as written in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from clinical_assets.trials.sources.kinds import KINDS, kind_fields, misplaced_fields
from clinical_assets.trials.sources.packages import PACKAGES

DataStatus = Literal["real", "real-simplified", "real-thin", "simulated"]


def _one_of(known: Iterable[str]) -> tuple[AfterValidator, WithJsonSchema]:
    names = list(known)

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"{name!r} is not known; use one of {', '.join(names)}")
        return name

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": names})


Code = str | float
"""A value of a source column, compared as `codes.code` spells it."""


class SourceSpec(BaseModel):
    """`content_sha256` pins what is read, value by value, whatever the platform, the package build or the file format.

    Which rows are kept: those with one of the given values in every column of `where`, nothing missing in the columns
    of `require`, and a number strictly above the given one in every column of `above`. Names are source columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Annotated[str, *_one_of(KINDS)]
    package: Annotated[str, *_one_of(PACKAGES)] | None = None
    version: str = Field("", description="package version against which the contract was written")
    dataset: str = Field("", description="name of the data set inside the package")
    path: str = Field("", description="file; a relative path starts at the directory of the catalogue file")
    separator: str = Field(",", min_length=1, max_length=1)
    missing: tuple[str, ...] = Field(("", "NA"), description="text that stands for a missing value")
    where: dict[str, Code | Annotated[tuple[Code, ...], Field(min_length=1)]] = Field(default_factory=dict)
    require: tuple[str, ...] = ()
    above: dict[str, float] = Field(default_factory=dict)
    content_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    data_status: DataStatus
    licence: str = Field(min_length=1)
    citation: str = Field(min_length=1)

    @property
    def label(self) -> str:
        """How messages name the source."""
        return KINDS[self.kind].label.format_map(dict(self))

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        fields = type(self).model_fields
        given = {name for name in kind_fields() if getattr(self, name) != fields[name].default}
        if problems := misplaced_fields(self.kind, given):
            raise ValueError(f"a source of kind {self.kind} {'; '.join(problems)}")
        return self
