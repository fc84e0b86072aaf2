"""Prometheus beside a story, and what its dashboards would have shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clinical_assets.monitoring.beside import ALERTMANAGER_PORT, PROMETHEUS_PORT
from clinical_assets.monitoring.exporter import PORT
from clinical_assets.serving.readiness import ask
from tests.e2e.conftest import BIN, free_ports
from tests.serving.conftest import wait_until

DASHBOARDS = Path(__file__).parents[2] / "deploy" / "monitoring" / "grafana" / "dashboards"


@dataclass
class Watch:
    """What a Prometheus saw since `began`."""

    url: str
    began: float = field(default_factory=time.time)

    def shown(self, expression: str) -> list[dict[str, Any]]:
        """The series that Grafana would draw from the beginning until now.

        Raises:
            AssertionError: Prometheus refuses the query.
        """
        span = {"start": self.began, "end": time.time(), "step": 2}
        query = urllib.parse.urlencode({"query": expression, **span})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query_range?{query}", timeout=30) as answer:
                return json.loads(answer.read())["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read()[:300]}") from error


@contextmanager
def monitored() -> Iterator[Watch]:
    """`clinical monitor` on the state directory of this environment."""
    exporter, prometheus, alertmanager = map(str, free_ports(3))
    ports = {PORT[0]: exporter, PROMETHEUS_PORT[0]: prometheus, ALERTMANAGER_PORT[0]: alertmanager}
    command = [str(BIN / "clinical"), "monitor", "--every", "1"]
    child = subprocess.Popen(command, env={**os.environ, **ports}, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: _ready(int(prometheus)), 60, "Prometheus answers")
        yield Watch(f"http://127.0.0.1:{prometheus}")
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0


def _ready(port: int) -> bool:
    try:
        return ask(port, "/-/ready")[0] == 200
    except OSError:
        return False


def queries() -> Iterator[tuple[str, str]]:
    """Panel and PromQL of every target of every dashboard."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.stem}: {panel['title']}", target["expr"].replace("$cancer", ".*")
