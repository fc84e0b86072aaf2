"""Stores of each kind, empty."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clinical_assets.foundation.home import Home
from clinical_assets.foundation.objects.interface import Objects
from clinical_assets.foundation.objects.opening import open_objects
from clinical_assets.foundation.objects.s3 import S3Objects
from tests.s3 import S3Server

Machine = Callable[[str], S3Objects]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CLINICAL_OBJECTS_URL", "CLINICAL_OBJECTS_CACHE", "CLINICAL_OBJECTS_PATIENCE_S"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def url(s3: S3Server) -> str:
    """An empty place in a bucket without object lock."""
    return s3.new_url()


@pytest.fixture
def machine(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """The store as one of several machines sees it, each with a cache of its own."""
    monkeypatch.setenv("CLINICAL_OBJECTS_URL", url)

    def opened(name: str) -> S3Objects:
        found = open_objects(Home(tmp_path / name))
        assert isinstance(found, S3Objects)
        return found

    return opened


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.xdist_group("s3"))])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "s3":
        return request.getfixturevalue("machine")("one")
    return open_objects(Home(tmp_path))
