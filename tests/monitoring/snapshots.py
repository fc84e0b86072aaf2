"""A snapshot as the store holds it, of which only the moment of its extraction is looked at."""

from __future__ import annotations

import json
from pathlib import Path

from clinical_assets.references import SnapshotReference
from resources.object_store import ObjectStore


def extracted(cancer: str, at_utc: str) -> None:
    """Into the store of this environment, and handed on as the cancer type's latest."""
    reference = SnapshotReference(cancer=cancer, digest="d" * 64, table_sha256="e" * 64)

    def fill(aside: Path) -> None:
        (aside / "manifest.json").write_text(json.dumps({"extracted_utc": at_utc}))

    ObjectStore().publish("snapshots", cancer, reference.digest, fill)
    ObjectStore().objects().write(f"references/raw_trial_data/{cancer}.json", reference.model_dump_json().encode())
