"""What a snapshot says about itself."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.trials.data_status import DataStatus


class RowFlowStep(BaseModel):
    """One line of the CONSORT-like flow from source rows to the canonical table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    rows: int


class Manifest(BaseModel):
    """Where the rows came from and what they are. `events` counts events, or positive labels.

    `version` is the package's, or what the place of the data calls it: an ETag, a DVC commit with md5, the answer of a
    database's version query.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cancer: str
    source: str
    package: str
    version: str
    file_sha256: str
    content_sha256: str
    rows: int
    subjects: int
    events: int
    data_cut: dt.date | None
    licence: str
    citation: str
    data_status: DataStatus
    table_sha256: str
    contract_sha256: str
    extracted_utc: str
    row_flow: tuple[RowFlowStep, ...]

    @property
    def digest(self) -> str:
        """Identity of the snapshot: everything but the moment of extraction."""
        return sha256_json(self.model_dump(mode="json", exclude={"extracted_utc"}))
