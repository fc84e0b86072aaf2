"""Immutable copies of cohorts. A snapshot's directory is named by what it holds, so the same content is stored once."""

from __future__ import annotations

import datetime as dt
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.foundation.clock import SystemClock, utc_iso
from clinical_assets.foundation.objects.errors import NotStored, ObjectDamaged, ObjectMissing
from clinical_assets.foundation.objects.interface import Objects
from clinical_assets.foundation.objects.local import LocalObjects
from clinical_assets.trials.canonical_table import canonical_table
from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.data_cut import apply_data_cut
from clinical_assets.trials.errors import SnapshotError, TrialDataError
from clinical_assets.trials.manifest import Manifest, RowFlowStep
from clinical_assets.trials.sources.read import RawTable, read_source
from clinical_assets.trials.sources.spec import SourceSpec
from clinical_assets.trials.table_digest import table_sha256


@dataclass(frozen=True)
class Snapshot:
    """`sha256` identifies the table, `digest` the table with its origin (the name of the directory).

    `known`: the store held it before it was ingested.
    """

    path: Path
    manifest: Manifest
    known: bool = field(default=True, compare=False)

    @classmethod
    def open(cls, path: Path) -> Snapshot:
        """
        Raises:
            SnapshotError: `path` is no complete snapshot.
        """
        try:
            return cls(path, Manifest.model_validate_json((path / "manifest.json").read_bytes()))
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error)) from error

    @property
    def sha256(self) -> str:
        return self.manifest.table_sha256

    @property
    def digest(self) -> str:
        return self.manifest.digest

    def read(self) -> pd.DataFrame:
        """The canonical table, verified against the manifest.

        Raises:
            SnapshotError: the stored table is unreadable or not the one the manifest describes.
        """
        frame = self._stored()
        if (found := table_sha256(frame)) != self.sha256:
            raise _damaged(self.path, f"its table has digest {found}, the manifest says {self.sha256}")
        return frame

    def recompute(self) -> dict[str, Any]:
        """Digest and row count of the stored table, as found now."""
        frame = self._stored()
        return {"table_sha256": table_sha256(frame), "rows": len(frame)}

    def _stored(self) -> pd.DataFrame:
        try:
            return pd.read_parquet(io.BytesIO((self.path / "table.parquet").read_bytes()))
        except (OSError, ValueError) as error:
            raise _damaged(self.path, str(error)) from error


@dataclass(frozen=True)
class SnapshotStore:
    """Snapshots under `snapshots/<cancer>/<digest>` of a directory or of an object store."""

    root: Path | Objects

    @property
    def objects(self) -> Objects:
        return LocalObjects(self.root) if isinstance(self.root, Path) else self.root

    def directory(self, cancer: str) -> Path:
        return self.objects.directory / "snapshots" / cancer

    def find(self, cancer: str, digest: str) -> Snapshot | None:
        """
        Raises:
            SnapshotError: the snapshot is damaged.
        """
        try:
            return Snapshot.open(self.objects.fetch(f"snapshots/{cancer}/{digest}"))
        except ObjectMissing:
            return None
        except ObjectDamaged as damage:
            raise SnapshotError(f"{cancer}: {damage}; then materialize raw_trial_data") from damage

    def publish(self, frame: pd.DataFrame, manifest: Manifest) -> Snapshot:
        """Store it in one step; an existing snapshot of the same digest is verified and returned.

        Raises:
            SnapshotError: the store cannot be written, or holds a damaged snapshot under this digest.
        """

        def fill(aside: Path) -> None:
            frame.to_parquet(aside / "table.parquet", index=False)
            (aside / "manifest.json").write_bytes(canonical_json(manifest.model_dump(mode="json")))

        address = f"snapshots/{manifest.cancer}/{manifest.digest}"
        try:
            known = self.objects.holds(address)
            path = self.objects.publish(address, fill)
        except NotStored as problem:
            raise SnapshotError(f"{manifest.cancer}: snapshot {problem}") from problem
        snapshot = Snapshot.open(path)
        snapshot.read()
        return replace(snapshot, known=known)


def ingest(
    cancer: str,
    source: SourceSpec,
    contract: CohortContract,
    store: SnapshotStore,
    data_cut: dt.date | None = None,
) -> Snapshot:
    """Read the source, bring it into canonical form, apply the data cut, and store it.

    Raises:
        SourceError, ContractError, SnapshotError: see the steps; nothing is stored then.
    """
    try:
        raw = read_source(source, contract)
        frame = canonical_table(raw, contract)
        if data_cut is not None:
            frame = apply_data_cut(frame, contract, data_cut)
    except TrialDataError as error:
        raise type(error)(f"{cancer}: {error}") from error
    return store.publish(frame, _manifest(cancer, source, contract, raw, frame, data_cut))


def _manifest(
    cancer: str,
    source: SourceSpec,
    contract: CohortContract,
    raw: RawTable,
    frame: pd.DataFrame,
    data_cut: dt.date | None,
) -> Manifest:
    flow = list(raw.row_flow)
    if data_cut is not None:
        flow.append((f"index date before {data_cut}", len(frame)))
    outcome = contract.outcome_names[-1]
    return Manifest(
        cancer=cancer,
        source=source.label,
        package=raw.package,
        version=raw.version,
        file_sha256=raw.file_sha256,
        content_sha256=raw.content_sha256,
        rows=len(frame),
        subjects=len(set(frame["subject_id"])),
        events=int((frame[outcome] == 1).sum()),
        data_cut=data_cut,
        licence=source.licence,
        citation=source.citation,
        data_status=source.data_status,
        table_sha256=table_sha256(frame),
        contract_sha256=contract.digest,
        extracted_utc=utc_iso(SystemClock().now()),
        row_flow=tuple(RowFlowStep(step=step, rows=rows) for step, rows in flow),
    )


def _damaged(path: Path, problem: str) -> SnapshotError:
    return SnapshotError(f"snapshot {path} is damaged: {problem}; delete the directory and materialize raw_trial_data")
