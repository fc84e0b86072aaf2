"""What people are told, and that a deaf webhook stops nothing."""

from __future__ import annotations

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import dagster as dg
import pytest

from sensors.rollout import tell


def change(rule: str) -> dg.AssetMaterialization:
    facts = {"rule": rule, "stage": "5", "reason": "the route of colon is gone", "rollout": "colon-0001"}
    return dg.AssetMaterialization("deployed_variant", partition="colon", metadata=facts)


def test_a_lost_route_is_told_to_the_webhook_and_an_advance_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("CLINICAL_ALERT_WEBHOOK", f"http://127.0.0.1:{server.server_port}/")
    for rule in ("evidence", "routing_lost", "routing_contested"):
        tell(logging.getLogger("alerts"), change(rule))
    server.shutdown()
    server.server_close()
    assert [(message["rule"], message["cancer"]) for message in received] == [
        ("routing_lost", "colon"), ("routing_contested", "colon"),
    ]  # fmt: skip


def test_a_deaf_webhook_is_logged(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("CLINICAL_ALERT_WEBHOOK", "http://127.0.0.1:9/")
    tell(logging.getLogger("alerts"), change("routing_lost"))
    assert "does not take the message" in caplog.text
    assert "colon is gone" in caplog.text
