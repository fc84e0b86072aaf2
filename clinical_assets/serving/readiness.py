"""Waiting for a model server or the whole data plane, with the server's own reason when it does not get ready."""

from __future__ import annotations

import http.client
import json
import time

from clinical_assets.rollout.routing import RoutingUnavailable
from clinical_assets.serving.ports import LOOPBACK

REFUSED_SECONDS = 5.0
"""A server tries a refused model again every 2 s, as its verdict may be on the way; after this long it is final."""


def ask(port: int, path: str, timeout: float = 2.0) -> tuple[int, bytes]:
    """Status and body of a GET on loopback.

    Raises:
        OSError, http.client.HTTPException: no answer.
    """
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def await_model(port: int, cancer: str, digest: str, timeout: float) -> None:
    """Return when the server on `port` can answer with this model.

    Raises:
        RoutingUnavailable: not ready within `timeout` seconds, or refused; the message holds the server's reason.
    """
    path = f"/v2/models/{cancer}/versions/{digest}/ready"
    deadline = time.monotonic() + timeout
    refused_since: float | None = None
    while True:
        try:
            status, body = ask(port, path)
            if status == 200:
                return
            answer = json.loads(body)
            reason, refused = answer.get("reason", ""), answer.get("state") == "refused"
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason, refused = f"its server on port {port} does not answer ({type(error).__name__})", False
        now = time.monotonic()
        refused_since = (refused_since or now) if refused else None
        if now >= deadline or (refused_since is not None and now - refused_since >= REFUSED_SECONDS):
            raise RoutingUnavailable(f"{cancer}: model {digest[:12]} is not ready: {reason}")
        time.sleep(0.05)
