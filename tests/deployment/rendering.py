"""What `kubectl kustomize` makes of a directory, as documents."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

Document = dict[str, Any]
ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("local-cluster", "staging", "production")
OLDEST = (5, 0)
"""Kustomize of kubectl 1.27; that of Debian's kubectl 1.20 knows no components."""


@lru_cache
def kustomize_version() -> tuple[int, int] | None:
    if shutil.which("kubectl") is None:
        return None
    said = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Kustomize Version: v(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def rendered(directory: Path) -> list[Document]:
    version = kustomize_version()
    if version is None or version < OLDEST:
        pytest.skip("needs kubectl 1.27 or newer, which brings kustomize 5")
    done = subprocess.run(["kubectl", "kustomize", str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


@lru_cache
def overlay(name: str) -> list[Document]:
    """Tests read it and leave it as it is."""
    return rendered(KUBERNETES / "overlays" / name)


def of_kind(documents: list[Document], *kinds: str) -> list[Document]:
    return [found for found in documents if found["kind"] in kinds]


def named(documents: list[Document], kind: str, name: str) -> Document:
    return next(found for found in documents if (found["kind"], found["metadata"]["name"]) == (kind, name))


def pod_of(workload: Document) -> Document:
    return workload["spec"]["template"]["spec"]


def labels_of(workload: Document) -> dict[str, str]:
    return workload["spec"]["template"]["metadata"]["labels"]
