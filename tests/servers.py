"""Servers and browsers that some tests need: where one is absent they skip, where it is demanded they fail."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skip for want of a server; `CLINICAL_REQUIRE_SERVERS=1` makes it a failure."""
    if os.environ.get("CLINICAL_REQUIRE_SERVERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(*names: str) -> str:
    """Path of the first of these programs that is on PATH; skips or fails without one."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or absent(f"{names[0]} is not on PATH; see .ci/run for how it is installed")


@dataclass(frozen=True)
class PostgreSQLServer:
    """A throw-away PostgreSQL on a port of its own. `commits`: whether a commit survives the server's own crash.

    Nothing survives a crash of the machine, which these tests do not need.
    """

    port: int
    root: Path
    control: tuple[str, ...]
    commits: str = "off"

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://clinical@127.0.0.1:{self.port}"

    @classmethod
    @contextmanager
    def running(cls, commits: str = "off") -> Iterator[PostgreSQLServer]:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        binaries = found[-1].parent if found else Path(shutil.which("initdb") or "/nowhere/initdb").parent
        if not (binaries / "initdb").exists():
            absent("PostgreSQL is not installed: no initdb in /usr/lib/postgresql or on PATH")
        as_user: tuple[str, ...] = ()
        root = Path(tempfile.mkdtemp(prefix="pg-"))
        root.chmod(0o755)
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                absent("PostgreSQL refuses to run as root and there is no user postgres")
            os.chown(root, user.pw_uid, user.pw_gid)
            as_user = ("runuser", "-u", "postgres", "--")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = cls(port, root, (*as_user, str(binaries / "pg_ctl"), "-D", str(root / "data"), "-w"), commits)
        settings = ("-D", str(root / "data"), "-U", "clinical", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8")
        try:
            _quietly(*as_user, str(binaries / "initdb"), *settings, at=root)
            server.start()
            try:
                yield server
            finally:
                server.stop()
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def start(self) -> None:
        fast = f"-c fsync=off -c synchronous_commit={self.commits} -c full_page_writes=off"
        options = f"-p {self.port} -k {self.root} -c listen_addresses=127.0.0.1 {fast}"
        _quietly(*self.control, "-l", str(self.root / "log"), "-o", options, "start", at=self.root)

    def stop(self) -> None:
        """At once, as a crash would: whoever is connected loses the connection."""
        _quietly(*self.control, "-m", "immediate", "stop", at=self.root)


def _quietly(*command: str, at: Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=at)
