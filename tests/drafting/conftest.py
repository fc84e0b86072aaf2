"""Drafts of tests go into a catalogue of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLINICAL_CONFIGS", str(tmp_path / "configs"))
    return tmp_path / "configs"
