"""Declaration of a source, as written in the catalogue."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from clinical_assets.trials.data_status import DataStatus
from clinical_assets.trials.simulation.spec import Simulation
from clinical_assets.trials.sources.kinds import KINDS, kind_fields, misplaced_fields
from clinical_assets.trials.sources.packages import PACKAGES
from clinical_assets.trials.sources.redaction import holds_credentials


def _one_of(known: Iterable[str]) -> tuple[AfterValidator, WithJsonSchema]:
    names = list(known)

    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"{name!r} is not known; use one of {', '.join(names)}")
        return name

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": names})


_ELSEWHERE = re.compile(r"://|^[\w.-]+@[\w.-]+:")
"""A URL, or Git's short form of one: not a path of this machine."""
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")

ROW_RULES = ("where", "require", "absent", "above", "first_per")
"""Fields of `SourceSpec` that say which rows are kept, in the order in which they apply."""

Code = str | float
"""A value of a source column, compared as `codes.code` spells it."""


class SourceSpec(BaseModel):
    """`content_sha256` pins what is read, value by value, whatever the platform, the package build or the file format.
    No field takes a password: credentials come from the environment.

    Which rows are kept: those with one of the given values in every column of `where`, nothing missing in the columns
    of `require`, nothing filled in in the columns of `absent`, and a number strictly above the given one in every
    column of `above`; then the first of the rows that agree in the columns of `first_per`. Names are source columns.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: Annotated[str, *_one_of(KINDS)]
    package: Annotated[str, *_one_of(PACKAGES)] | None = None
    version: str = Field("", description="package version against which the contract was written")
    dataset: str = Field("", description="name of the data set inside the package")
    path: str = Field("", description="file or fsspec URL; a relative path starts at the directory of this file")
    simulation: Simulation | None = None
    separator: str = Field(",", min_length=1, max_length=1)
    encoding: str = Field("", description="of text that is not UTF-8, when the file does not say so itself")
    repository: str = Field("", description="DVC repository, a directory or Git URL, in which `path` is tracked")
    revision: str = Field("", description="tag, branch or commit of `repository`")
    adtte: str = Field("", description="ADTTE of the ADaM pair whose ADSL is `path`")
    paramcd: str = Field("", description="PARAMCD of the endpoint in ADTTE; CNSR 0 is an event, above 0 a censoring")
    time_unit: Literal["", "days", "weeks", "months", "years"] = Field("", description="of AVAL when AVALU is absent")
    keep: tuple[str, ...] = Field((), description="further columns of ADTTE to keep, for instance STARTDT")
    database: str = Field("", description="name of the environment variable that holds the database's URL")
    table: str = Field("", description="table or view, `schema.name` if need be")
    query: str = Field("", description="one SELECT")
    order_by: tuple[str, ...] = Field((), description="columns that tell the rows of a table or query apart")
    version_query: str = Field("", description="a SELECT of one value that changes when the rows do")
    missing: tuple[str, ...] = Field(("", "NA"), description="text that stands for a missing value")
    where: dict[str, Code | Annotated[tuple[Code, ...], Field(min_length=1)]] = Field(default_factory=dict)
    require: tuple[str, ...] = ()
    absent: tuple[str, ...] = Field((), description="columns that mark rows to leave out: withdrawn, excluded")
    above: dict[str, float] = Field(default_factory=dict)
    first_per: tuple[str, ...] = Field((), description="columns that identify a subject who has several rows")
    content_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    data_status: DataStatus
    licence: str = Field(min_length=1)
    citation: str = Field(min_length=1)

    @property
    def label(self) -> str:
        """How messages name the source."""
        label = KINDS[self.kind].label.format_map(dict(self))
        return f"{self.repository}@{self.revision}:{label}" if self.repository else label

    def below(self, directory: Path) -> Self:
        """With relative paths of this machine starting at `directory`; inside a DVC repository they start there."""
        names = ("repository",) if self.repository else ("path", "adtte")
        local = {name: value for name in names if (value := getattr(self, name)) and not _ELSEWHERE.search(value)}
        return self.model_copy(
            update={name: str(directory / Path(value).expanduser()) for name, value in local.items()}
        )

    @field_validator("path", "adtte", "repository", "database")
    @classmethod
    def _no_credentials(cls, value: str, info: ValidationInfo) -> str:
        if holds_credentials(value):
            raise ValueError("holds a user or a secret, which belong in the environment, not in this file")
        if info.field_name == "database" and value and not _VARIABLE.fullmatch(value):
            raise ValueError("must be the name of an environment variable (A-Z, 0-9, _) that holds the URL")
        return value

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        fields = type(self).model_fields
        given = {name for name in kind_fields() if getattr(self, name) != fields[name].default}
        problems = misplaced_fields(self.kind, given)
        if bool(self.repository) != bool(self.revision):
            problems.append("needs `repository` and `revision` together")
        if problems:
            raise ValueError(f"a source of kind {self.kind} {'; '.join(problems)}")
        if self.simulation is not None and self.data_status != "simulated":
            raise ValueError(f"data_status: is {self.data_status}; what is made by a simulation is simulated")
        return self
