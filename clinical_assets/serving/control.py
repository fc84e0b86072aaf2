"""Start, find and stop the data plane from another process (command line, demo, tests)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from clinical_assets.foundation.home import Home
from clinical_assets.serving.envoy.admin import EnvoyAdmin
from clinical_assets.serving.locking import holder
from clinical_assets.serving.ports import PortError, Ports
from clinical_assets.serving.processes import python_path
from clinical_assets.serving.readiness import ask

START_SECONDS = 60.0


class DataPlaneError(RuntimeError):
    """The data plane did not start or stop; the message holds its own words."""


@dataclass(frozen=True)
class DataPlaneStatus:
    """`supervisor` is a process id, `None` if none runs. `healthy` by process name (envoy, blue, green)."""

    supervisor: int | None
    ports: Ports | None
    healthy: dict[str, bool]
    restarts: dict[str, int]

    @property
    def ready(self) -> bool:
        return self.supervisor is not None and len(self.healthy) == 3 and all(self.healthy.values())


def status(home: Home) -> DataPlaneStatus:
    """What runs now; the supervisor's own record of each process."""
    supervisor = holder(home.dataplane / "supervisor.lock")
    try:
        ports = Ports.recorded(home.dataplane)
        records = json.loads((home.dataplane / "processes.json").read_text())
    except (PortError, FileNotFoundError):
        return DataPlaneStatus(supervisor, None, {}, {})
    known = {name: record or {} for name, record in records.items()}
    return DataPlaneStatus(
        supervisor,
        ports,
        {name: bool(record.get("healthy")) for name, record in known.items()},
        {name: int(record.get("restarts", 0)) for name, record in known.items()},
    )


def ensure_running(home: Home, timeout: float = START_SECONDS) -> Ports:
    """Start a supervisor in the background unless one runs, and wait until Envoy and both servers answer.

    Raises:
        DataPlaneError: with the supervisor's message, e.g. the port that is in use.
    """
    home.prepare()
    log = home.dataplane / "logs" / "supervisor.log"
    log.parent.mkdir(exist_ok=True)
    child: subprocess.Popen[bytes] | None = None
    offset = log.stat().st_size if log.exists() else 0
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        now = status(home)
        if now.ready and now.ports is not None and _answers(now.ports):
            return now.ports
        if now.supervisor is None and child is None:
            child = _start(home, log)
        elif now.supervisor is None and child is not None and child.poll() is not None:
            raise DataPlaneError(_tail(log, offset) or f"the supervisor ended with code {child.returncode}; see {log}")
        time.sleep(0.05)
    raise DataPlaneError(f"the data plane is not ready after {timeout:g} s; see the logs in {log.parent}")


def _start(home: Home, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            (sys.executable, "-m", "clinical_assets.serving.supervisor"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "CLINICAL_HOME": str(home.root), "PYTHONPATH": python_path()},
            start_new_session=True,
        )


def stop(home: Home, timeout: float = 30.0) -> bool:
    """Stop supervisor, Envoy and servers; False if none ran.

    Raises:
        DataPlaneError: still running after `timeout` seconds.
    """
    supervisor = status(home).supervisor
    if supervisor is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if status(home).supervisor != supervisor:
            return True
        time.sleep(0.05)
    raise DataPlaneError(f"supervisor {supervisor} did not stop in {timeout:g} s; end it with `kill -9 {supervisor}`")


def _answers(ports: Ports) -> bool:
    try:
        servers = [ask(port, "/v2/health/live")[0] == 200 for port in (ports.blue, ports.green)]
    except OSError:
        return False
    return EnvoyAdmin(ports.admin).ready() and all(servers)


def _tail(log: Path, offset: int) -> str:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read()[-2000:].decode(errors="replace").strip()
