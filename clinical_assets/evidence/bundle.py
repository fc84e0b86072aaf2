"""A bundle: files by name, a manifest of their digests, and the platform's signature over it.

The same release gives the same bytes: nothing in a bundle says when or where it was written.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.foundation.files import publish_directory
from clinical_assets.foundation.objects.archive import pack_files

if TYPE_CHECKING:
    from clinical_assets.audit.decision import DecisionRecord
    from clinical_assets.audit.keys import Signer

FORMAT = 1
MANIFEST, SIGNATURE, REPORT = "manifest.json", "manifest.signature.json", "report.html"
Files = dict[str, bytes]


def document(value: Any) -> bytes:
    """A JSON document that people may open: sorted keys, one entry a line."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sealed(files: Mapping[str, bytes], record: DecisionRecord, record_digest: str, signer: Signer) -> Files:
    """`files` with a manifest and its signature."""
    manifest = canonical_json(
        {
            "format": FORMAT,
            "cancer": record.cancer,
            "model_digest": record.model_digest,
            "record": record_digest,
            "files": {name: {"sha256": sha256_bytes(data), "bytes": len(data)} for name, data in sorted(files.items())},
        }
    )
    proof = {
        "algorithm": "Ed25519",
        "key_id": signer.key_id,
        "signed": "the words 'evidence-manifest', a line feed, the bytes of manifest.json",
        "signature": signer.sign(manifest_bytes(manifest)),
    }
    return {**files, MANIFEST: manifest, SIGNATURE: document(proof)}


def manifest_bytes(manifest: bytes) -> bytes:
    """What the signature over a bundle covers."""
    return b"evidence-manifest\n" + manifest


def bundle_digest(files: Mapping[str, bytes]) -> str:
    """Identity of a bundle: the digest of its manifest, which holds that of every other file."""
    return sha256_bytes(files[MANIFEST])


def write_folder(files: Mapping[str, bytes], folder: Path) -> Path:
    """Write aside and rename into place; a folder that exists already is left as it is."""
    return publish_directory(folder, lambda aside: write_files(files, aside))


def write_files(files: Mapping[str, bytes], directory: Path) -> None:
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The bundle as one archive: entries in order of name, without times, owners or compression."""
    buffer = io.BytesIO()
    pack_files(files, buffer)
    return buffer.getvalue()
