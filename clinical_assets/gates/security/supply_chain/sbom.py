"""A software bill of materials, CycloneDX 1.6 JSON: written from the installed distributions, or read from a file."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.gates.security.facts import Distribution, Sbom

SPECIFICATION = "1.6"
_NAMESPACE = uuid.UUID("5a1c1d0e-52c3-5e7b-9d3e-2f0d6c0f4a11")


def write(distributions: Iterable[Distribution], digest: str) -> bytes:
    """The bill of one environment. The same environment gives the same bytes: no time, no random serial number."""
    return canonical_json(
        {
            "bomFormat": "CycloneDX",
            "specVersion": SPECIFICATION,
            "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, digest)}",
            "version": 1,
            "metadata": {"component": {"type": "application", "name": "clinical-assets", "bom-ref": "clinical-assets"}},
            "components": [_component(one) for one in distributions],
        }
    )


def _component(one: Distribution) -> dict[str, Any]:
    reference = f"pkg:pypi/{one.name}@{one.version.replace('+', '%2B')}"
    component = {
        "type": "library", "name": one.name, "version": one.version, "purl": reference, "bom-ref": reference,
        "scope": "required" if one.required else "optional",
    }  # fmt: skip
    return component | ({"licenses": [{"license": {"name": one.licence}}]} if one.licence else {})


def read(path: Path, source: str) -> Sbom:
    """The bill in a file; what is wrong with it becomes its `problem`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return Sbom(sha256="", source=source, specification="", components=(), problem=f"{path.name}: {error.strerror}")
    try:
        bill = json.loads(data)
        kind, specification = bill["bomFormat"], str(bill["specVersion"])
        components = {
            (canonicalize_name(one["name"]), str(one.get("version", "")))
            for one in bill.get("components", [])
            if str(one.get("purl", "")).startswith("pkg:pypi/")
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        kind, specification, components = "", "", set()
        problem = f"{path.name} is no bill of materials ({type(error).__name__})"
    else:
        problem = "" if kind == "CycloneDX" else f"{path.name} is not CycloneDX"
    return Sbom(
        sha256=sha256_bytes(data), source=source, specification=specification, components=tuple(sorted(components)),
        problem=problem,
    )  # fmt: skip
