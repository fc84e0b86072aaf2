from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine

import clinical_assets.audit.records
import clinical_assets.rollout.ledger  # noqa: F401  every table is registered
from clinical_assets.audit.keys import KeyStore
from clinical_assets.foundation.database import create_tables, engine_for


@pytest.fixture
def keys(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys")


@pytest.fixture
def engine(database_url: str) -> Engine:
    engine = engine_for(database_url)
    create_tables(engine)
    return engine


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Engine:
    engine = engine_for(sqlite_url)
    create_tables(engine)
    return engine
