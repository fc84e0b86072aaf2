"""Prometheus and Alertmanager beside the demo or `clinical dev`, with the configuration of `deploy/monitoring`.

They are looked for on PATH and only in this process's own state directory; nothing is installed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from clinical_assets.foundation.files import write_atomic
from clinical_assets.foundation.home import Home
from clinical_assets.monitoring.exporter import port_from_env
from clinical_assets.serving.ports import LOOPBACK, PortError, Ports, port_setting
from clinical_assets.serving.readiness import ask

DEPLOYED = Path(__file__).parents[2] / "deploy" / "monitoring"
PROMETHEUS_PORT = ("CLINICAL_PROMETHEUS_PORT", 9090)
ALERTMANAGER_PORT = ("CLINICAL_ALERTMANAGER_PORT", 9093)
START_SECONDS = 30.0
INSTALL = "apt-get install prometheus prometheus-alertmanager, or put their binaries on PATH (prometheus.io/download)"


class MonitorError(RuntimeError):
    """Prometheus or Alertmanager is not installed, or does not run; the message holds the remedy."""


@dataclass(frozen=True)
class Addresses:
    """Where everything listens on loopback; `alertmanager` is `None` where it is not installed."""

    exporter: int
    prometheus: int
    alertmanager: int | None


@contextmanager
def beside(home: Home, every_s: float = 5.0) -> Iterator[Addresses]:
    """Run exporter, Prometheus and, where it is installed, Alertmanager until the block is left.

    Raises:
        MonitorError: Prometheus is not installed, or one of them does not get ready.
        PortError: a port setting is no port.
    """
    from clinical_assets.monitoring.exporter import serve

    prometheus = found("prometheus")
    if prometheus is None:
        raise MonitorError(f"Prometheus is not installed; {INSTALL}")
    alertmanager = found("prometheus-alertmanager", "alertmanager")
    at = Addresses(
        port_from_env(), port_setting(*PROMETHEUS_PORT), port_setting(*ALERTMANAGER_PORT) if alertmanager else None
    )
    root = home.root / "monitoring"
    write_configuration(root, at, _data_plane(home), os.environ.get("CLINICAL_ALERT_WEBHOOK", ""), every_s)
    with ExitStack() as running:
        try:
            server, _ = serve(home, LOOPBACK, at.exporter)
        except OSError as error:
            taken = f"port {at.exporter} cannot be listened on ({error.strerror}); set CLINICAL_EXPORTER_PORT"
            raise MonitorError(taken) from error
        running.callback(server.server_close)
        running.callback(server.shutdown)
        if alertmanager is not None and at.alertmanager is not None:
            options = [f"--storage.path={root / 'alertmanager'}", "--cluster.listen-address="]
            running.enter_context(_process(alertmanager, root / "alertmanager.yml", at.alertmanager, options))
        options = [f"--storage.tsdb.path={root / 'series'}", "--storage.tsdb.retention.time=30d"]
        running.enter_context(_process(prometheus, root / "prometheus.yml", at.prometheus, options))
        yield at


def found(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def write_configuration(root: Path, at: Addresses, plane: Ports, webhook: str, every_s: float) -> None:
    """The files of `deploy/monitoring`, with the addresses in force, below `root`."""
    (root / "rules").mkdir(parents=True, exist_ok=True)
    for file in (DEPLOYED / "rules").glob("*.yml"):
        write_atomic(root / "rules" / file.name, file.read_bytes())
    prometheus: dict[str, Any] = yaml.safe_load((DEPLOYED / "prometheus.yml").read_text())
    prometheus["global"] = dict.fromkeys(prometheus["global"], f"{round(every_s * 1000)}ms")
    targets = {
        "clinical-exporter": [at.exporter],
        "clinical-models": [plane.blue, plane.green],
        "clinical-gateway": [plane.admin],
    }
    for job in prometheus["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"{LOOPBACK}:{port}" for port in targets[job["job_name"]]]}]
    managers = [] if at.alertmanager is None else [f"{LOOPBACK}:{at.alertmanager}"]
    prometheus["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": managers}]}]}
    write_atomic(root / "prometheus.yml", yaml.safe_dump(prometheus, sort_keys=False).encode())
    alertmanager: dict[str, Any] = yaml.safe_load((DEPLOYED / "alertmanager.yml").read_text())
    for receiver in alertmanager["receivers"]:
        receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}] if webhook else []
    write_atomic(root / "alertmanager.yml", yaml.safe_dump(alertmanager, sort_keys=False).encode())


def _data_plane(home: Home) -> Ports:
    """The ports in use, else those that the data plane will use when it starts."""
    try:
        return Ports.recorded(home.dataplane)
    except PortError:
        return Ports.from_env()


@contextmanager
def _process(binary: str, config: Path, port: int, options: list[str]) -> Iterator[None]:
    """Run until the block is left; ready before it begins."""
    log = config.with_suffix(".log")
    command = [binary, f"--config.file={config}", f"--web.listen-address={LOOPBACK}:{port}", *options]
    with log.open("ab") as output:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _ready(port):
            if child.poll() is not None or time.monotonic() > deadline:
                raise MonitorError(f"{Path(binary).name} does not run on port {port}; see {log}")
            time.sleep(0.05)
        yield
    finally:
        child.terminate()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _ready(port: int) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return ask(port, "/-/ready")[0] == 200
    return False
