"""Declaration of a source, as written in the catalogue."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

DataStatus = Literal["real", "real-simplified", "real-thin", "simulated"]


class SourceSpec(BaseModel):
    """`content_sha256` pins what is read, value by value, whatever the platform, the package build or the file format;
    `where` keeps the rows whose source columns hold the given values.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["package", "csv", "parquet"]
    package: Literal["survival", "greenwood", "scikit-learn"] | None = None
    version: str = Field("", description="package version against which the contract was written")
    dataset: str = Field("", description="name of the data set inside the package")
    path: str = Field("", description="file; a relative path starts at the directory of the catalogue file")
    separator: str = ","
    missing: tuple[str, ...] = Field(("", "NA"), description="text that stands for a missing value in a csv file")
    where: dict[str, str | float] = Field(default_factory=dict)
    content_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    data_status: DataStatus
    licence: str = Field(min_length=1)
    citation: str = Field(min_length=1)

    @property
    def label(self) -> str:
        """How messages name the source."""
        return f"{self.package}:{self.dataset}" if self.kind == "package" else self.path

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "package" and not (self.package and self.dataset):
            raise ValueError("a source of kind package needs `package` and `dataset`")
        if self.kind != "package" and not self.path:
            raise ValueError(f"a source of kind {self.kind} needs `path`")
        return self
