"""Databases of others on PostgreSQL (MLflow's), through `pg_dump` and `pg_restore`, all or nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from sqlalchemy.engine import make_url

from clinical_assets.backup.manifest import BackupError

_INSTALLED = "/usr/lib/postgresql"


def dump(url: str, target: Path) -> None:
    """
    Raises:
        BackupError: no `pg_dump`, or it fails, e.g. because it is older than the server.
    """
    _run("pg_dump", url, "--format=custom", "--no-owner", "--no-privileges", f"--file={target}")


def restore(url: str, source: Path) -> None:
    """Replace the tables of the dump in one transaction. Raises as `dump`."""
    options = ("--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error")
    _run("pg_restore", url, *options, str(source))


def _run(program: str, url: str, *arguments: str) -> None:
    found = sorted(Path(_INSTALLED).glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    path = str(found[-1]) if found else shutil.which(program)
    parsed = make_url(url).set(drivername="postgresql")
    shown = parsed.render_as_string(hide_password=True)
    if path is None:
        raise BackupError(
            f"{shown}: {program} is not installed; install PostgreSQL's client programs, version of the server"
        )
    password = {"PGPASSWORD": str(parsed.password)} if parsed.password else {}
    address = parsed.set(password=None).render_as_string()
    done = subprocess.run(
        [path, f"--dbname={address}", *arguments], env={**os.environ, **password}, capture_output=True, text=True
    )
    if done.returncode:
        raise BackupError(f"{shown}: {program} failed: {done.stderr.strip().splitlines()[-1] if done.stderr else ''}")
