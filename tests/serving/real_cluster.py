"""The contract's third data plane: a real cluster, named by KUBECONFIG, with `deploy/kubernetes/base` installed.

It is reached through two addresses (port-forwards will do): CLINICAL_TEST_GATEWAY=host:port is the gateway's Service,
CLINICAL_TEST_PROXIES=host:port its window; with one replica both lead to the same proxy. The Gateway's hosts are "*".
The identity is an administrator of the namespace CLINICAL_TEST_NAMESPACE (default `clinical`). Model servers are
stand-ins in the image CLINICAL_TEST_IMAGE (default `python:3.11-slim`) that write the headers they get to their log.
"""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.serving.istio import GatewayProxies, IstioRouter
from clinical_assets.serving.istio.reading import names_model
from clinical_assets.serving.istio.routes import objects, positions
from clinical_assets.serving.istio.snapshots import Snapshots
from clinical_assets.serving.kubernetes import manifests
from clinical_assets.serving.kubernetes.api import Document, KubernetesApi
from clinical_assets.serving.kubernetes.backend import KubernetesServing
from clinical_assets.serving.kubernetes.manifests import PodOptions
from clinical_assets.serving.kubernetes.names import (
    ANSWERS_PORT,
    CANCER_LABEL,
    COPIES_PORT,
    MODEL_LABEL,
    Names,
    workload,
)
from tests.serving.conftest import CANCER, Scopes, wait_until
from tests.serving.planes import INFER, VENDOR, A, B, request

SERVER = f"""
import http.server, json, os, threading
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {{k.lower(): v for k, v in self.headers.items()}}
        copy = self.server.server_port == {COPIES_PORT}
        mark = "challenger" if headers.get("x-challenger-digest") == os.environ["DIGEST"] else "champion"
        seen = dict(headers, **({{"x-copy-for": mark}} if copy else {{}}))
        print("SEEN " + json.dumps(seen), flush=True)
        body = json.dumps({{"from": os.environ["COLOUR"], "headers": headers}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
for port in ({ANSWERS_PORT}, {COPIES_PORT}):
    server = http.server.ThreadingHTTPServer(("", port), Handler)
    threading.Thread(target=server.serve_forever).start()
"""


def address(variable: str) -> tuple[str, int]:
    host, _, port = os.environ[variable].rpartition(":")
    return host, int(port)


class Logged(list[dict[str, str]]):
    """The headers in a pod's log since the last `clear`."""

    def __init__(self, cluster: RealCluster, digest: str) -> None:
        self._cluster, self._digest, self._skip = cluster, digest, 0

    def _read(self) -> list[dict[str, str]]:
        return self._cluster.log(self._digest)[self._skip :]

    def __len__(self) -> int:
        return len(self._read())

    def __iter__(self) -> Any:
        return iter(self._read())

    def __getitem__(self, index: Any) -> Any:
        return self._read()[index]

    def __eq__(self, other: object) -> bool:
        return self._read() == other

    def clear(self) -> None:
        self._skip += len(self._read())


@dataclass
class LoggingServer:
    seen: list[dict[str, str]]


class RealCluster:
    """One cluster. Every test starts from the installed objects."""

    def __init__(self, directory: Path) -> None:
        self.names = Names(os.environ.get("CLINICAL_TEST_NAMESPACE", "clinical"))
        self.gate = address("CLINICAL_TEST_GATEWAY")
        self.authority = Scopes()
        self._ours = KubernetesApi.connect()
        self._hand = KubernetesApi(KubernetesApi.connect()._client, "kubectl-edit")
        self._engine = engine_for(f"sqlite:///{directory / 'ledger.db'}")
        create_tables(self._engine)
        for path, document in objects(self.names, "clinical-gateway", ["*"]).items():
            held = self._hand.get(path)
            if held is None:
                self._hand.create(path, document)
            else:
                self._hand.patch(path, [{"op": "replace", "path": "/spec", "value": document["spec"]}])
        for digest, colour in ((A, "blue"), (B, "green")):
            self._serve(digest, colour)
        for digest in (A, B):
            self._serving().await_ready(CANCER, digest)
        self.blue, self.green = (LoggingServer(Logged(self, digest)) for digest in (A, B))
        self.blue.seen.clear()
        self.green.seen.clear()

    def router(self, recreate: bool = False) -> IstioRouter:
        proxies = GatewayProxies(os.environ["CLINICAL_TEST_PROXIES"])
        snapshots = Snapshots(self._engine)
        return IstioRouter(self._ours, proxies, self.authority, self._serving(), snapshots, self.names, recreate)

    def ask(self, patient: str = "p", path: str = INFER, **headers: str) -> tuple[int, dict[str, Any]]:
        return request(self.gate, patient, path, headers)

    def edit(self, champion: int, challenger: int) -> None:
        def change(http: list[Document]) -> None:
            for destination, weight in zip(_split(http)["route"], (champion, challenger), strict=True):
                destination["weight"] = weight

        self._change(change)
        wait_until(lambda: self._weight() == challenger, 10, "the edit in the proxies")

    def add_destination(self) -> None:
        def change(http: list[Document]) -> None:
            route = _split(http)["route"]
            route[0]["weight"] -= 10
            route.append({"destination": {"host": VENDOR, "port": {"number": ANSWERS_PORT}}, "weight": 10})

        self._change(change)
        wait_until(lambda: self._weight() is None, 10, "the third destination in the proxies")

    def add_route(self) -> None:
        foreign = {"name": "status", "match": [{"uri": {"prefix": "/status"}}], "directResponse": {"status": 204}}
        self._change(lambda http: http.insert(1, foreign))
        wait_until(lambda: self.ask(path="/status")[0] == 204, 10, "the foreign route")

    def delete(self) -> None:
        def change(http: list[Document]) -> None:
            for index in reversed(positions(CANCER, http)):
                del http[index]

        self._change(change)
        wait_until(lambda: self.router().read(CANCER) is None, 10, "the deletion in the proxies")

    def unload(self) -> None:
        path = self.names.deployment(workload(CANCER, B))
        self._hand.patch(path, {"spec": {"replicas": 0}})
        wait_until(lambda: not (self._hand.get(path) or {})["status"].get("readyReplicas"), 60, "the pod's end")

    def outage(self) -> None:
        from kubernetes import client

        configuration = client.Configuration(host="http://127.0.0.1:9")
        configuration.retries = False
        self._working, self._ours._client = self._ours._client, client.ApiClient(configuration)

    def recover(self) -> None:
        self._ours._client = self._working

    def stop(self) -> None:
        for digest in (A, B):
            self._hand.patch(self.names.deployment(workload(CANCER, digest)), {"spec": {"replicas": 1}})

    def log(self, digest: str) -> list[dict[str, str]]:
        pods = f"/api/v1/namespaces/{self.names.namespace}/pods"
        found = []
        for pod in self._hand.select(pods, f"{CANCER_LABEL}={CANCER}"):
            if pod["metadata"]["labels"][MODEL_LABEL] == digest[:12]:
                query = [("container", "model")]
                raw = self._hand._send("GET", f"{pods}/{pod['metadata']['name']}/log", query=query).data.decode()
                found += [json.loads(line[5:]) for line in raw.splitlines() if line.startswith("SEEN ")]
        return found

    def _serving(self) -> KubernetesServing:
        def routed(cancer: str, digest: str) -> bool:
            return names_model(self._ours.get(self.names.virtual_service), cancer, digest)

        return KubernetesServing(self._ours, PodOptions("unused"), routed, self.names)

    def _serve(self, digest: str, colour: str) -> None:
        """The platform's own Deployment with a stand-in for the program."""
        image = os.environ.get("CLINICAL_TEST_IMAGE", "python:3.11-slim")
        path = self.names.deployment(workload(CANCER, digest))
        if self._hand.get(path) is not None:
            return
        document = manifests.deployment(self.names, CANCER, digest, PodOptions(image, replicas=1))
        pod = document["spec"]["template"]["spec"]
        container = pod["containers"][0]
        container |= {"command": ["python", "-c", SERVER], "args": [], "envFrom": [], "volumeMounts": []}
        container["env"] = [{"name": "DIGEST", "value": digest}, {"name": "COLOUR", "value": colour}]
        pod["volumes"] = []
        self._hand.create(path, document)

    def _change(self, change: Any) -> None:
        held = self._hand.get(self.names.virtual_service)
        assert held is not None
        http = copy.deepcopy(held["spec"]["http"])
        change(http)
        self._hand.patch(self.names.virtual_service, [{"op": "replace", "path": "/spec/http", "value": http}])

    def _weight(self) -> int | None:
        """The challenger's weight in the proxies, `None` where they serve what is not ours."""
        from clinical_assets.rollout.routing import RouteConflict

        try:
            found = self.router().read(CANCER)
        except RouteConflict:
            return None
        return found.weight if found else -1


def _split(http: list[Document]) -> Document:
    return next(entry for entry in http if entry.get("name") == f"clinical/{CANCER}/split")
