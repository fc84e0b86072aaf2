"""The API double over HTTP, with latency and outages."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .api import ADMIN, ApiDouble, Refusal, Request


class ApiServer:
    """`api` may be replaced between tests; the port stays."""

    def __init__(self, api: ApiDouble) -> None:
        self.api = api
        owner = self

        class Handler(_Handler):
            server_of = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def client(self, token: str = ADMIN) -> Any:
        """A `kubernetes` client with the identity of `token`."""
        from kubernetes import client

        configuration = client.Configuration(host=self.url)
        configuration.api_key["authorization"] = f"Bearer {token}"
        configuration.retries = False
        return client.ApiClient(configuration)


class _Handler(BaseHTTPRequestHandler):
    server_of: ApiServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _serve(self) -> None:
        api = self.server_of.api
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        address = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=address.path,
            query=dict(parse_qsl(address.query)),
            content_type=self.headers.get("content-type", ""),
            body=json.loads(raw) if raw else None,
            token=self.headers.get("authorization", "").removeprefix("Bearer "),
        )
        time.sleep(api.latency)
        if api.outage == "lost_answer" and self.command != "GET":
            api.handle(request)
        if api.outage == "503":
            refusal = Refusal(503, "ServiceUnavailable", "etcdserver: no leader")
            return self._answer(503, refusal.status)
        if api.outage == "hang":
            time.sleep(30)
        if api.outage:
            self.close_connection = True
            return None
        if request.query.get("watch"):
            return self._watch(api, request)
        if request.path.endswith("/log"):
            return self._log(api, request)
        return self._answer(*api.handle(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def _log(self, api: ApiDouble, request: Request) -> None:
        try:
            body, status, kind = api.log(request).encode(), 200, "text/plain"
        except Refusal as refusal:
            body, status, kind = json.dumps(refusal.status).encode(), refusal.code, "application/json"
        self._send(status, kind, body)

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(document).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, api: ApiDouble, request: Request) -> None:
        status, document = api.handle(request)
        if status != 200:
            return self._answer(status, document)
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.send_header("connection", "close")
        self.end_headers()
        since = int(request.query.get("resourceVersion", "0"))
        name = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        deadline = time.monotonic() + int(request.query.get("timeoutSeconds", "30"))
        try:
            if since < api.oldest:
                expired = Refusal(410, "Expired", f"too old resource version: {since} ({api.oldest})")
                self._event("ERROR", expired.status)
            while since >= api.oldest and time.monotonic() < deadline and not api.outage:
                with api.changed:
                    news = [event for event in api.events if event[0] > since]
                    if not news:
                        api.changed.wait(0.05)
                for at, kind, path, held in news:
                    since = at
                    if path == f"{request.path}/{name}":
                        self._event(kind, held)
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass
        self.close_connection = True
        return None

    def _event(self, kind: str, held: dict[str, Any]) -> None:
        line = json.dumps({"type": kind, "object": held}).encode() + b"\n"
        self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
        self.wfile.flush()
