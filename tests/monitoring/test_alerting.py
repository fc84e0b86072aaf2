"""A real Prometheus and a real Alertmanager: what goes wrong in the ledger reaches a person's webhook."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clinical_assets.foundation.home import Home
from clinical_assets.monitoring.beside import ALERTMANAGER_PORT, PROMETHEUS_PORT, Addresses, MonitorError, beside
from clinical_assets.monitoring.exporter import PORT
from clinical_assets.serving.ports import SETTINGS
from tests.e2e.conftest import free_ports
from tests.monitoring.test_collector import judge
from tests.rollout.conftest import CHALLENGER, World
from tests.servers import program

EVERY_S = 0.5


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A webhook, and what it was told."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            received.extend(json.loads(self.rfile.read(int(self.headers["content-length"])))["alerts"])
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    server.server_close()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    plane = [variable for variable, _ in SETTINGS.values()]  # on which nothing listens
    names = (PORT[0], PROMETHEUS_PORT[0], ALERTMANAGER_PORT[0], *plane)
    for name, port in zip(names, free_ports(len(names)), strict=True):
        monkeypatch.setenv(name, str(port))
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.delenv("CLINICAL_DATABASE_URL", raising=False)
    return Home(tmp_path).prepare()


@pytest.fixture
def hurried(environment: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules as they are, without the minute for which an alert must last."""
    from clinical_assets.monitoring import beside as module

    rules, real = environment.root / "hurried", module.DEPLOYED
    (rules / "rules").mkdir(parents=True)
    for file in (*real.glob("*.yml"), *real.glob("rules/*.yml")):
        lines = [line for line in file.read_text().splitlines() if not line.strip().startswith("for:")]
        (rules / file.relative_to(real)).write_text("\n".join(lines))
    monkeypatch.setattr(module, "DEPLOYED", rules)


def within(seconds: float, condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.1)
    return found


def targets(at: Addresses) -> dict[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{at.prometheus}/api/v1/targets", timeout=5) as answer:
        active = json.loads(answer.read())["data"]["activeTargets"]
    return {target["labels"]["job"]: target["health"] for target in active}


@pytest.mark.usefixtures("hurried")
def test_a_withdrawn_verdict_reaches_the_webhook(
    environment: Home, told: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    program("prometheus")
    program("prometheus-alertmanager", "alertmanager")
    address, received = told
    monkeypatch.setenv("CLINICAL_ALERT_WEBHOOK", address)
    world = World(environment.root)
    world.open()
    records = judge(world, CHALLENGER)

    def names() -> set[str]:
        return {alert["labels"]["alertname"] for alert in received if alert["status"] == "firing"}

    with beside(environment, EVERY_S) as at:
        within(20, lambda: targets(at).get("clinical-exporter") == "up", "the exporter is scraped")
        within(30, lambda: "GatewayDown" in names(), "a gateway that does not run is told")
        assert "VerdictRevoked" not in names()
        records.revoke(CHALLENGER, "leaked data", "dr-x", 1_700_000_100.0)
        within(30, lambda: "VerdictRevoked" in names(), "the withdrawn verdict is told")
    revoked = next(alert for alert in received if alert["labels"]["alertname"] == "VerdictRevoked")
    assert (revoked["labels"]["cancer"], revoked["labels"]["digest"]) == ("colon", CHALLENGER[:12])
    assert "leaked" not in json.dumps(received)
    world.engine.dispose()


def test_without_prometheus_the_remedy_is_said(environment: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MonitorError, match="apt-get install prometheus"), beside(environment):
        pass
