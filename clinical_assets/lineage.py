"""Which code, which dependencies, which commit: the parts of a lineage that the running platform itself supplies."""

from __future__ import annotations

import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from clinical_assets.foundation.canonical import sha256_bytes, sha256_file, sha256_json

_PACKAGE = Path(__file__).parent


@lru_cache
def code_digest(*packages: str) -> str:
    """SHA-256 over the source files of the named sub-packages: a changed method is a changed input."""
    files = sorted(path for package in packages for path in (_PACKAGE / package).rglob("*.py"))
    return sha256_json([[path.relative_to(_PACKAGE).as_posix(), sha256_file(path)] for path in files])


@lru_cache
def environment_digest() -> str:
    """SHA-256 over the sorted `name==version` lines of every installed distribution."""
    described = [one.metadata for one in metadata.distributions()]  # parsed anew at every access
    lines = {f"{one['Name'].lower()}=={one['Version']}" for one in described if one["Name"]}
    return sha256_bytes("\n".join(sorted(lines)).encode())


@lru_cache
def commit() -> tuple[str, bool]:
    """The commit of the working tree and whether it is clean; an installed wheel gives its version and True."""
    try:
        head = _git("rev-parse", "HEAD")
        return head, not _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return f"clinical-assets=={metadata.version('clinical-assets')}", True


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=_PACKAGE, check=True, capture_output=True, text=True, timeout=10)
    return done.stdout.strip()
