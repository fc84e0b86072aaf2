"""Two data planes with the same handles: the local Envoy, and a cluster with Istio in front of the same real Envoy."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any, Protocol

from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.routing import TrafficRouter
from clinical_assets.serving.desired import DesiredState
from clinical_assets.serving.envoy import EnvoyRouter
from clinical_assets.serving.envoy.files import CLUSTERS, ROUTE_CONFIG, ROUTES, ConfigFile
from clinical_assets.serving.istio import GatewayProxies
from clinical_assets.serving.kubernetes.names import ANSWERS_PORT, CANCER_LABEL, COPIES_PORT, MODEL_LABEL
from tests.kubernetes_double import istiod
from tests.kubernetes_double.cluster import Cluster
from tests.kubernetes_double.server import ApiServer
from tests.serving.conftest import CANCER, Gateway, Scopes

A, B = "a" * 64, "b" * 64
VENDOR = "vendor-model"
INFER = f"/v2/models/{CANCER}/infer"


class Upstream(Protocol):
    """Headers of the requests that one model got, copies included."""

    seen: list[dict[str, str]]


class Plane(Protocol):
    """What the contract tests do to a data plane. `blue` holds model A, `green` model B."""

    authority: Scopes
    blue: Upstream
    green: Upstream
    gate: tuple[str, int]

    def router(self, recreate: bool = False) -> TrafficRouter: ...

    def ask(self, patient: str = "p", path: str = INFER, **headers: str) -> tuple[int, dict[str, Any]]:
        """A request through the gateway: status and decoded answer."""
        ...

    def edit(self, champion: int, challenger: int) -> None:
        """Another hand changes the weights."""
        ...

    def add_destination(self) -> None:
        """Another hand gives 10 % to a third destination named `VENDOR`."""
        ...

    def add_route(self) -> None:
        """Another hand adds a route of its own: `/status` answers 204."""
        ...

    def delete(self) -> None:
        """Another hand deletes our routes."""
        ...

    def unload(self) -> None:
        """Model B gets unready."""
        ...

    def outage(self) -> None: ...

    def recover(self) -> None: ...

    def stop(self) -> None: ...


def request(gate: tuple[str, int], patient: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(*gate, timeout=15)
    try:
        given = {"x-patient-id": patient, **{key.replace("_", "-"): value for key, value in headers.items()}}
        connection.request("POST", path, b"{}", given)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body.startswith(b"{") else {}
    finally:
        connection.close()


class LocalPlane:
    def __init__(self, gateway: Gateway) -> None:
        self.gateway, self.authority = gateway, gateway.authority
        self.blue, self.green = gateway.blue, gateway.green
        self.gate = ("127.0.0.1", gateway.ports.gateway)
        desired = DesiredState(gateway.dataplane)
        desired.place(CANCER, A)
        desired.place(CANCER, B, keep=A)
        self._file = ConfigFile(gateway.dataplane, ROUTES)

    def router(self, recreate: bool = False) -> EnvoyRouter:
        return EnvoyRouter(self.gateway.dataplane, self.authority, recreate)

    def ask(self, patient: str = "p", path: str = INFER, **headers: str) -> tuple[int, dict[str, Any]]:
        return request(self.gate, patient, path, headers)

    def edit(self, champion: int, challenger: int) -> None:
        def change(routes: list[dict[str, Any]]) -> None:
            for entry, weight in zip(_weighted(routes), (champion, challenger), strict=True):
                entry["weight"] = weight

        self._change(change)

    def add_destination(self) -> None:
        clusters = ConfigFile(self.gateway.dataplane, CLUSTERS)
        version, found = clusters.read()
        clusters.write(version + 1, [*found, {**found[0], "name": VENDOR}])

        def change(routes: list[dict[str, Any]]) -> None:
            entries = _weighted(routes)
            entries[0]["weight"] -= 10
            entries.append({"name": VENDOR, "weight": 10})

        self._change(change)

    def add_route(self) -> None:
        foreign = {"name": "status", "match": {"prefix": "/status"}, "direct_response": {"status": 204}}
        self._change(lambda routes: routes.insert(1, foreign))

    def delete(self) -> None:
        self._change(lambda routes: routes.clear())

    def unload(self) -> None:
        self.green.stop()

    def outage(self) -> None:
        self.gateway.kill()

    def recover(self) -> None:
        self.gateway.start()

    def stop(self) -> None:
        """The fixture of the gateway ends it."""

    def _change(self, change: Any) -> None:
        version, resources = self._file.read()
        change(resources[0]["virtual_hosts"][0]["routes"])
        self._file.write(version + 1, resources)
        assert self.router().confirm(CANCER, version + 1, 5.0)


def _weighted(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    split = next(route for route in routes if route["name"].endswith("/split"))
    return split["route"]["weighted_clusters"]["clusters"]


class IstioPlane:
    """Kubernetes API double, istiod double, real Envoy. Outages are those of the API: Envoy's own are Envoy's tests."""

    def __init__(self, gateway: Gateway, server: ApiServer) -> None:
        self.gateway, self.authority = gateway, gateway.authority
        self.blue, self.green = gateway.blue, gateway.green
        self.gate = ("127.0.0.1", gateway.ports.gateway)
        self.blue.holds, self.green.holds = A, B
        engine = engine_for(f"sqlite:///{gateway.dataplane / 'ledger.db'}")
        create_tables(engine)
        self.cluster = Cluster(server, engine)
        for digest in (A, B):
            self.cluster.serving().place(CANCER, digest)
        self._istiod = Istiod(self)

    def router(self, recreate: bool = False) -> Any:
        proxies = GatewayProxies(f"127.0.0.1:{self.gateway.ports.admin}")
        return self.cluster.router(self.authority, recreate, proxies)

    def ask(self, patient: str = "p", path: str = INFER, **headers: str) -> tuple[int, dict[str, Any]]:
        return request(self.gate, patient, path, headers)

    def edit(self, champion: int, challenger: int) -> None:
        self.cluster.edit_weights(CANCER, champion, challenger)
        self._istiod.push()

    def add_destination(self) -> None:
        at = f"/spec/http/{self.cluster.split(CANCER)[0]}/route"
        champion = self.cluster.split(CANCER)[1]["route"][0]["weight"]
        vendor = {"destination": {"host": VENDOR, "port": {"number": ANSWERS_PORT}}, "weight": 10}
        steps = [
            {"op": "replace", "path": f"{at}/0/weight", "value": champion - 10},
            {"op": "add", "path": f"{at}/-", "value": vendor},
        ]
        self.cluster.write("PATCH", self.cluster.names.virtual_service, steps)
        self._istiod.push()

    def add_route(self) -> None:
        foreign = {"name": "status", "match": [{"uri": {"prefix": "/status"}}], "directResponse": {"status": 204}}
        steps = [{"op": "add", "path": "/spec/http/1", "value": foreign}]
        self.cluster.write("PATCH", self.cluster.names.virtual_service, steps)
        self._istiod.push()

    def delete(self) -> None:
        kept = [entry for entry in self.cluster.http() if not entry["name"].startswith(f"clinical/{CANCER}/")]
        steps = [{"op": "replace", "path": "/spec/http", "value": kept}]
        self.cluster.write("PATCH", self.cluster.names.virtual_service, steps)
        self._istiod.push()

    def unload(self) -> None:
        self.cluster.api.set_pods_ready(False)

    def outage(self) -> None:
        self.cluster.api.outage = "refuse"

    def recover(self) -> None:
        self.cluster.api.outage = ""

    def stop(self) -> None:
        self._istiod.stop()


class Istiod:
    """Pushes the translation to Envoy whenever an object changes."""

    def __init__(self, plane: IstioPlane) -> None:
        self._plane = plane
        self._ended = False
        self._versions = {CLUSTERS: 1, ROUTES: 1}
        self._pushed: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended = True
        self._thread.join()

    def push(self) -> None:
        """Translate now, and return when Envoy serves it."""
        cluster, dataplane = self._plane.cluster, self._plane.gateway.dataplane
        with self._lock:
            with cluster.api.changed:
                routes = istiod.route_configuration(cluster.api.objects, cluster.names)
                found = istiod.clusters(cluster.api.objects, cluster.names, (ANSWERS_PORT, COPIES_PORT))
            resources = {
                CLUSTERS: [self._cluster(name, endpoints) for name, endpoints in found.items()],
                ROUTES: [
                    {
                        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
                        **routes,
                        "name": ROUTE_CONFIG,
                        "validate_clusters": False,
                    }
                ],
            }
            for kind, wanted in resources.items():
                if self._pushed.get(kind) != wanted:
                    self._versions[kind] += 1
                    ConfigFile(dataplane, kind).write(self._versions[kind], wanted)
                    self._pushed[kind] = wanted
        for _ in range(500):
            if self._taken():
                return
            threading.Event().wait(0.004)

    def _taken(self) -> bool:
        from clinical_assets.rollout.routing import RoutingUnavailable
        from clinical_assets.serving.envoy.admin import EnvoyAdmin

        admin = EnvoyAdmin(self._plane.gateway.ports.admin)
        try:
            return admin.routes()[0] >= self._versions[ROUTES] and admin.clusters_version() >= self._versions[CLUSTERS]
        except RoutingUnavailable:
            return False

    def _cluster(self, name: str, found: istiod.Endpoints) -> dict[str, Any]:
        endpoints = []
        for digest, echo in ((A, self._plane.blue), (B, self._plane.green)):
            priority = found.priority({CANCER_LABEL: CANCER, MODEL_LABEL: digest[:12]})
            port = echo.port if f"|{ANSWERS_PORT}|" in name else echo.copies_port
            address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
            if priority is not None:
                endpoints.append({"lb_endpoints": [{"endpoint": {"address": address}}], "priority": priority})
        return {
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": name,
            "type": "STATIC",
            "connect_timeout": "0.5s",
            "load_assignment": {"cluster_name": name, "endpoints": endpoints},
            "outlier_detection": {
                "consecutive_5xx": found.ejection["consecutive5xxErrors"],
                "interval": found.ejection["interval"],
                "base_ejection_time": found.ejection["baseEjectionTime"],
                "max_ejection_percent": found.ejection["maxEjectionPercent"],
            },
            "circuit_breakers": {"thresholds": [{"max_retries": 2**32 - 1}]},  # Istio's default; Envoy's own is 3
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        }

    def _run(self) -> None:
        api, seen = self._plane.cluster.api, -1
        while not self._ended:
            with api.changed:
                if api.version == seen:
                    api.changed.wait(0.05)
                news, seen = api.version != seen, api.version
            if news:
                self.push()
