"""The bundle of a release in the object store: written once for what it is made from, found again without work."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from clinical_assets.audit.decision import DecisionRecord, SignedRecord
from clinical_assets.catalog import CancerType
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.foundation.files import publish_directory, write_new
from clinical_assets.foundation.home import Home
from clinical_assets.foundation.objects.archive import pack
from clinical_assets.foundation.objects.errors import ObjectMissing
from clinical_assets.foundation.objects.local import writing
from clinical_assets.lineage import code_digest
from clinical_assets.references import EvidenceReference
from resources.ledger_store import LedgerStore
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from clinical_assets.evidence.signed_rows import Row
    from clinical_assets.gates.facts import ReleaseFacts


@dataclass(frozen=True)
class StoredEvidence:
    """A bundle as a folder and as a zip. `lock` says until when the stored one cannot be deleted, or why it can."""

    reference: EvidenceReference
    folder: Path
    lock: str

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def archive(self) -> Path:
        return self.folder.with_suffix(".zip")


def store_evidence(
    cancer: CancerType,
    signed: SignedRecord,
    facts: Callable[[], ReleaseFacts],
    object_store: ObjectStore,
    ledger_store: LedgerStore,
) -> StoredEvidence:
    """The bundle of a decision record; `facts` is asked for only when one has to be written."""
    from clinical_assets.evidence.bundle import bundle_digest, sealed, write_files
    from clinical_assets.evidence.composing import Release, compose
    from clinical_assets.evidence.signed_rows import audit_extract, decision_rows, statement_rows

    record, engine = signed.record, ledger_store.engine()
    signer = ledger_store.signer.key_store().signer("platform")
    statements = statement_rows(engine, record.model_digest)
    decisions = decision_rows(engine, record.model_digest, statements)
    audit, seal = audit_extract(engine, record.model_digest, signer)
    input_sha = sha256_json(
        [
            signed.digest, signer.key_id, [row["entry_hash"] for row in (*decisions, *statements)],
            seal.head if seal else "", cancer.model_dump(mode="json"), code_digest("evidence"),
        ]
    )  # fmt: skip
    known = object_store.recall("evidence", cancer.slug, input_sha, EvidenceReference)
    if known is not None:
        with suppress(ObjectMissing):
            return _opened(known, object_store)

    gathered = facts()
    signature = object_store.signature(record.model_digest)
    release = Release(
        cancer=cancer,
        facts=gathered,
        signed=signed,
        model=json.loads((gathered.model_dir / "model.json").read_text()),
        decisions=decisions,
        statements=statements,
        audit=audit,
        seal=seal,
        keys=_public_keys(ledger_store, (*decisions, *statements), signer.key_id),
        model_signature=signature.read_bytes() if signature.exists() else None,
        sbom=_bill_of_materials(record),
    )
    files = sealed(compose(release), record, signed.digest, signer)
    reference = EvidenceReference(
        cancer=cancer.slug, model_digest=record.model_digest, record=signed.digest, digest=bundle_digest(files)
    )
    objects = object_store.objects()
    objects.publish(_address(reference), lambda aside: write_files(files, aside), locked=True)
    object_store.remember("evidence", cancer.slug, input_sha, reference)
    return _opened(reference, object_store)


def latest_evidence(cancer: str, model_digest: str, object_store: ObjectStore) -> StoredEvidence | None:
    """The bundle that was written last for a model; None when there is none.

    Raises:
        ObjectDamaged: it is not what was stored.
    """
    found = object_store.objects().read(_latest(cancer, model_digest))
    return None if found is None else _opened(EvidenceReference.model_validate_json(found), object_store)


def export(evidence: StoredEvidence, directory: Path) -> tuple[Path, Path]:
    """Copy folder and zip below `directory`, named by cancer type and bundle; copies that are there are kept."""
    name = f"{evidence.reference.cancer}-{evidence.reference.digest[:12]}"

    def fill(aside: Path) -> None:
        shutil.copytree(evidence.folder, aside, dirs_exist_ok=True)

    folder = publish_directory(directory / name, fill)
    archive = folder.with_suffix(".zip")
    write_new(archive, evidence.archive.read_bytes())
    return folder, archive


def _opened(reference: EvidenceReference, object_store: ObjectStore) -> StoredEvidence:
    """The bundle, verified, with its zip beside it; it becomes the latest of its model."""
    objects = object_store.objects()
    folder = objects.fetch(_address(reference))
    if not (archive := folder.with_suffix(".zip")).exists():
        with writing(archive), TemporaryDirectory(prefix=".zip-", dir=folder.parent) as aside:
            pack(folder, Path(aside) / "evidence.zip")
            os.replace(Path(aside) / "evidence.zip", archive)
    latest, said = _latest(reference.cancer, reference.model_digest), reference.model_dump_json().encode()
    if objects.read(latest) != said:
        objects.write(latest, said)
    return StoredEvidence(reference, folder, objects.lock(_address(reference)))


def _address(reference: EvidenceReference) -> str:
    return f"evidence/{reference.cancer}/{reference.model_digest}/{reference.digest}"


def _latest(cancer: str, model_digest: str) -> str:
    return f"references/evidence/{cancer}/{model_digest}.json"


def _bill_of_materials(record: DecisionRecord) -> bytes | None:
    """The CycloneDX document of the environment in which the gates ran, where the security gate wrote one."""
    path = Home.from_env().root / "environment" / f"{record.lineage.get('lock_digest')}.cdx.json"
    return path.read_bytes() if path.is_file() else None


def _public_keys(ledger_store: LedgerStore, rows: tuple[Row, ...], platform: str) -> dict[str, bytes]:
    """The platform's key, those of the persons who signed, and the keys that sign model directories."""
    from clinical_assets.audit.artifact_signature import KEY_NAME

    used = {platform, *(row["key_id"] for row in rows)}
    return {
        path.name: path.read_bytes()
        for path in sorted(ledger_store.signer.key_store().directory.glob("*.pub"))
        if path.name.split(".")[-2] in used or path.name.startswith(f"{KEY_NAME}.")
    }
