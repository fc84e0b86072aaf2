"""One supervised process: started, or taken over from a supervisor that was killed; probed; stopped.

Children run in sessions of their own and outlive a killed supervisor, so patients' requests are still answered. The
next supervisor recognises them by process id, start time and command line and takes them over.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from clinical_assets.serving.readiness import ask

LOG_BYTES = 10_000_000
STARTING_SECONDS = 30.0
PROBE_FAILURES = 3
BACKOFF_SECONDS = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
STEADY_SECONDS = 30.0


@dataclass(frozen=True)
class ProcessSpec:
    """What to run, and the loopback address that answers 200 while it works."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    port: int
    probe: str
    log: Path


def python_path() -> str:
    """`PYTHONPATH` with which a child process runs this very code, wherever it is started."""
    root = str(Path(__file__).parents[2])
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))


def _inherited() -> dict[str, str]:
    """Without what the import of Feast sets: prometheus_client would take each child for one of many processes."""
    return {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}


def survivor(spec: ProcessSpec) -> dict[str, Any] | None:
    """Record of a running process with exactly this command line, which holds the state directory and the port."""
    for process in psutil.process_iter(["pid", "cmdline", "create_time", "status"]):
        info = process.info
        if tuple(info["cmdline"] or ()) == spec.command and info["status"] != psutil.STATUS_ZOMBIE:
            return {"pid": info["pid"], "created": info["create_time"], "command": info["cmdline"]}
    return None


@dataclass
class SupervisedProcess:
    """Mutable state of one process. Times are on the monotonic clock."""

    spec: ProcessSpec
    process: psutil.Process | None = None
    child: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    healthy: bool = False
    restarts: int = 0
    last_problem: str = ""
    _failures: int = 0
    _quick_deaths: int = 0
    _start_at: float = field(default_factory=time.monotonic)

    def step(self) -> None:
        """Restart it if it died (with growing delay), kill it if it hangs."""
        if self.process is None:
            if time.monotonic() >= self._start_at:
                try:
                    self.start()
                except (OSError, psutil.Error) as error:
                    self._died(f"could not be started ({error})")
            return
        if not self._alive():
            self._died(f"ended with code {self.child.returncode}" if self.child else "ended")
            return
        if self._answers():
            self._failures, self.healthy = 0, True
            if time.monotonic() - self.started > STEADY_SECONDS:
                self._quick_deaths = 0
            return
        starting = not self.healthy and time.monotonic() - self.started < STARTING_SECONDS
        self._failures += not starting
        if self._failures >= PROBE_FAILURES:
            self.kill()
            self._died(f"did not answer {PROBE_FAILURES} probes in a row and was killed")

    def start(self) -> None:
        log = self.spec.log
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                self.spec.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**_inherited(), **self.spec.environment},
                start_new_session=True,
            )
        self.process = psutil.Process(self.child.pid)
        self.started, self.healthy, self._failures = time.monotonic(), False, 0

    def adopt(self, record: Mapping[str, Any]) -> bool:
        """Take over the process in `record` if it is still the one that this specification would start.

        A survivor with another command line (other ports, another version) is ended instead.
        """
        try:
            process = psutil.Process(record["pid"])
            if abs(process.create_time() - record["created"]) > 1.0 or process.status() == psutil.STATUS_ZOMBIE:
                return False
            if tuple(process.cmdline()) != tuple(record["command"]):
                return False
        except (psutil.Error, KeyError, TypeError):
            return False
        self.process, self.started = process, time.monotonic()
        if tuple(record["command"]) == self.spec.command and self._answers():
            self.healthy = True
            return True
        self.stop(grace=2.0)
        return False

    def record(self) -> dict[str, Any] | None:
        """What a later supervisor needs to recognise the process."""
        if self.process is None:
            return None
        try:
            return {
                "pid": self.process.pid,
                "created": self.process.create_time(),
                "command": self.process.cmdline(),
                "healthy": self.healthy,
                "restarts": self.restarts,
                "last_problem": self.last_problem,
            }
        except psutil.Error:
            return None

    def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds."""
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            self.process.terminate()
            try:
                self._wait(grace)
            except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
                self.kill()
        self.process = self.child = None

    def kill(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            if self.process is not None:
                self.process.kill()
                self._wait(5.0)

    def _wait(self, timeout: float) -> None:
        if self.child is not None:
            self.child.wait(timeout)
        elif self.process is not None:
            self.process.wait(timeout)

    def _alive(self) -> bool:
        if self.child is not None:
            return self.child.poll() is None
        return self.process is not None and self.process.is_running()

    def _answers(self) -> bool:
        try:
            return ask(self.spec.port, self.spec.probe, timeout=2.0)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def _died(self, problem: str) -> None:
        delay = BACKOFF_SECONDS[min(self._quick_deaths, len(BACKOFF_SECONDS) - 1)]
        self.last_problem = problem
        self.process = self.child = None
        self.healthy = False
        self.restarts += 1
        self._quick_deaths += 1
        self._start_at = time.monotonic() + delay
