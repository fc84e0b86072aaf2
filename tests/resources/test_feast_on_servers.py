"""Feast's registry and online table on a real PostgreSQL, and on a real Redis where one is installed."""

from __future__ import annotations

import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import create_engine, inspect, text

from resources.feast_stores import ONLINE, REGISTRY, online_store, registry
from resources.feature_store import FeatureStore
from tests.servers import absent

from .test_stores import CANCER, NAMES, cohort, feature_table  # noqa: F401  (cohort is a fixture)


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    engine = create_engine(f"{postgresql_server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {(name := f'feast_{secrets.token_hex(4)}')} TEMPLATE template0"))
    engine.dispose()
    return f"{postgresql_server}/{name}"


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    binary = shutil.which("redis-server")
    if binary is None:
        absent("Redis is not installed: no redis-server on PATH")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize("online", ["postgresql", "redis"])
def test_what_one_machine_registers_another_serves(
    online: str,
    cohort: pd.DataFrame,  # noqa: F811
    postgresql_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setenv(REGISTRY, postgresql_url)
    url = request.getfixturevalue("redis_url") if online == "redis" else postgresql_url.replace("+psycopg2", "")
    monkeypatch.setenv(ONLINE, url)
    table = feature_table(cohort, CANCER.contract)
    path = tmp_path / "table.parquet"
    table.to_parquet(path, coerce_timestamps="us", allow_truncated_timestamps=True)
    here, there = (FeatureStore(directory=str(tmp_path / name)) for name in ("here", "there"))
    here.register(CANCER.slug, CANCER.contract, path)
    joined = here.training_frame(CANCER.slug, CANCER.contract, cohort[["subject_id", "index_date"]])
    pd.testing.assert_frame_equal(joined[NAMES], cohort[NAMES], check_dtype=False)
    assert here.materialize(CANCER.slug, table) == len(cohort)
    some = cohort.head(5)
    served = there.online(CANCER.slug, CANCER.contract, some["subject_id"].tolist())
    pd.testing.assert_frame_equal(served, some[NAMES].reset_index(drop=True), check_dtype=False)
    assert [file for file in tmp_path.rglob("*.db") if file.is_file()] == []
    assert "feature_views" in inspect(create_engine(postgresql_url)).get_table_names()


def test_settings_are_read_and_no_password_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ONLINE, "rediss://me:p%40ss@cache:6380/2")  # pragma: allowlist secret
    assert online_store(tmp_path)["connection_string"] == "cache:6380,db=2,username=me,password=p@ss,ssl=true"
    monkeypatch.setenv(ONLINE, "postgresql+psycopg2://me:p%40ss@db/f?sslmode=verify-full")  # pragma: allowlist secret
    found = online_store(tmp_path)
    assert (found["password"], found["port"], found["sslmode"]) == ("p@ss", 5432, "verify-full")
    for wrong in ("mysql://me:secret@db/x", "postgresql://me:secret@db", "secret"):
        monkeypatch.setenv(ONLINE, wrong)
        with pytest.raises(ValueError, match=ONLINE) as error:
            online_store(tmp_path)
        assert "secret" not in str(error.value)
    monkeypatch.setenv(REGISTRY, "postgresql://me:secret@db/feast")
    with pytest.raises(ValueError, match=r"postgresql\+psycopg2") as error:
        registry(tmp_path)
    assert "secret" not in str(error.value)
