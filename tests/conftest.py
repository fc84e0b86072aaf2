"""Databases for tests: SQLite files, and a real PostgreSQL server where its binaries are installed."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.s3 import S3Server, s3_server
from tests.servers import absent

_numbers = count(1)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL prefix of a throw-away server; durability is off, which these tests do not need."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binaries = found[-1].parent if found else Path(shutil.which("initdb") or "/nowhere/initdb").parent
    if not (binaries / "initdb").exists():
        absent("PostgreSQL is not installed: no initdb in /usr/lib/postgresql or on PATH")
    as_user: list[str] = []
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    root.chmod(0o755)
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            absent("PostgreSQL refuses to run as root and there is no user postgres")
        os.chown(root, user.pw_uid, user.pw_gid)
        as_user = ["runuser", "-u", "postgres", "--"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = str(root / "data")
    fast = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    options = f"-p {port} -k {root} -c listen_addresses=127.0.0.1 {fast}"
    control = [*as_user, str(binaries / "pg_ctl"), "-D", data, "-w"]
    initdb = [
        str(binaries / "initdb"),
        "-D",
        data,
        "-U",
        "clinical",
        "-A",
        "trust",
        "--no-sync",
        "--locale=C",
        "-E",
        "UTF8",
    ]
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": root}
    try:
        subprocess.run([*as_user, *initdb], **quiet)
        subprocess.run([*control, "-l", str(root / "log"), "-o", options, "start"], **quiet)
        try:
            yield f"postgresql+psycopg2://clinical@127.0.0.1:{port}"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
    finally:
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'ledger.db'}"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_url")
    server = request.getfixturevalue("postgresql_server")
    name = f"test_{next(_numbers)}"
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
    engine.dispose()
    return f"{server}/{name}"


@pytest.fixture(scope="session")
def s3_session() -> Iterator[S3Server]:
    """A real S3 server; whoever kills it starts it again."""
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(s3_session: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with its credentials in the environment."""
    for name, value in s3_session.environment.items():
        monkeypatch.setenv(name, value)
    return s3_session
