"""A requirements file in which every distribution is pinned to one version and to the digests of its files."""

from __future__ import annotations

import re
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from clinical_assets.foundation.canonical import sha256_bytes
from clinical_assets.gates.security.facts import LockFile

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
_OTHER_SOURCE = re.compile(r"@\s|://|^[./]|\.(whl|tar\.gz|zip)\b")


def read(path: Path, name: str) -> LockFile:
    """The lock at `path`, called `name` in messages. Lines for other systems count for hashes, not for pins."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return LockFile(path=name, problem=f"{name}: {error.strerror}")
    pins: dict[str, str] = {}
    unhashed, overrides = [], []
    for line in _lines(data.decode("utf-8", "replace")):
        requirement = _HASH.sub("", line).strip()
        if requirement.startswith("-") or _OTHER_SOURCE.search(requirement):
            overrides.append(requirement.split("=")[0].split()[0])
            continue
        try:
            parsed = Requirement(requirement)
        except InvalidRequirement:
            unhashed.append(requirement[:60])
            continue
        exact = re.fullmatch(r"==([^*,]+)", str(parsed.specifier))
        if exact is None or not _HASH.search(line):
            unhashed.append(requirement[:60])
        elif parsed.marker is None or parsed.marker.evaluate():
            pins[canonicalize_name(parsed.name)] = exact[1]
    return LockFile(
        path=name, sha256=sha256_bytes(data), pins=pins, unhashed=tuple(unhashed), overrides=tuple(overrides),
        problem="" if pins else f"{name} pins nothing for this system",
    )  # fmt: skip


def same_version(installed: str, pinned: str) -> bool:
    """Equal up to the local label: `2.13.0+cpu` is another build of 2.13.0, from another wheel of the same release."""
    try:
        return Version(installed).public == Version(pinned).public
    except InvalidVersion:
        return installed == pinned


def _lines(text: str) -> list[str]:
    """Logical lines, without comments."""
    joined = re.sub(r"\\\n", " ", text)
    lines = [re.sub(r"(^|\s)#.*$", "", line).strip() for line in joined.splitlines()]
    return [line for line in lines if line]
