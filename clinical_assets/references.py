"""What one asset hands to the next: addresses of immutable objects, never the data."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Reference(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SnapshotReference(_Reference):
    """A raw cohort: `digest` names the snapshot with its origin, `table_sha256` its table."""

    cancer: str
    digest: str
    table_sha256: str


class FeaturesReference(_Reference):
    """A feature table with its fixed split, made from one snapshot."""

    cancer: str
    digest: str
    split_digest: str
    snapshot: SnapshotReference


class ModelReference(_Reference):
    """A trained model: the digest over its directory, and the inputs it came from."""

    cancer: str
    digest: str
    family: str
    input_sha: str
    features: FeaturesReference
    mlflow_run: str
    mlflow_version: str


class FittedModel(_Reference):
    """A model that is stored, signed and tried on the test split, but not yet in the registry."""

    digest: str
    family: str
    chosen_because: str


class VerdictReference(_Reference):
    """A signed decision record about one model digest."""

    cancer: str
    model_digest: str
    record: str
    scope: str


class EvidenceReference(_Reference):
    """The evidence bundle of a decision record: `digest` is that of its manifest."""

    cancer: str
    model_digest: str
    record: str
    digest: str
