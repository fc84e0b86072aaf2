"""Installed distributions, their licences, and which of them the platform itself requires."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from clinical_assets.gates.security.facts import Distribution

PLATFORM = "clinical-assets"
LONGEST_NAME = 100
"""A longer `License` field is the licence's text, which names licences that do not apply (bundled parts)."""


def installed() -> tuple[Distribution, ...]:
    """Every distribution once, by name."""
    described: Iterable[Any] = (one.metadata for one in metadata.distributions())  # parsed anew at every access
    found = {str(canonicalize_name(one["Name"])): one for one in described if one["Name"]}
    required = _closure(found) if PLATFORM in found else set(found)
    return tuple(
        Distribution(name=name, version=one["Version"], licence=licence(one), required=name in required)
        for name, one in sorted(found.items())
    )


def licence(described: Any) -> str:
    """From the metadata: the SPDX expression where there is one, else the classifiers, else a short licence field."""
    classifiers = described.get_all("Classifier") or []
    named = [one.split(" :: ")[-1] for one in classifiers if one.startswith("License ::")]
    named = [one for one in named if one != "OSI Approved"]
    short = (described.get("License") or "").strip()
    return described.get("License-Expression") or "; ".join(named) or (short if len(short) <= LONGEST_NAME else "")


def copyleft(named: str, families: Iterable[str]) -> str | None:
    """The family that a licence belongs to, unless another one may be chosen or an exception frees users."""
    if re.search(r"\bOR\b", named) or re.search(r"\bWITH\b|exception", named, re.IGNORECASE):
        return None
    text = re.sub(r"(?i)\bLGPL\S*|lesser general public|library or lesser", "", named)
    text = re.sub(r"(?i)gnu affero general public", "AGPL", text)
    text = re.sub(r"(?i)gnu general public", "GPL", text)
    return next((family for family in families if re.search(rf"(?<![A-Za-z]){family}", text)), None)


def _closure(found: Mapping[str, Any]) -> set[str]:
    """Names reached from the platform's requirements, with the extras that they ask for, in this environment."""
    seen: set[tuple[str, str]] = set()
    waiting = [(PLATFORM, "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name not in found:
            continue
        seen.add((name, extra))
        for line in found[name].get_all("Requires-Dist") or []:
            try:
                needed = Requirement(line)
            except InvalidRequirement:
                continue
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                below = canonicalize_name(needed.name)
                waiting += [(below, ""), *((below, one) for one in needed.extras)]
    return {name for name, _ in seen} - {PLATFORM}
