"""What only the local router does: files, restarts and counters of a real Envoy. The rest is the routers' contract."""

from __future__ import annotations

import http.client
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.routing import (
    NoData,
    RouteRejected,
    RouteState,
    RoutingUnavailable,
    ServiceCounts,
)
from clinical_assets.serving.desired import DesiredState
from clinical_assets.serving.envoy import EnvoyRouter, EnvoyTelemetry
from clinical_assets.serving.envoy import router as router_module
from clinical_assets.serving.envoy.admin import EnvoyAdmin
from clinical_assets.serving.envoy.files import CLUSTERS, ROUTES, ConfigFile
from tests.serving.conftest import CANCER, Gateway, wait_until

A, B = "a" * 64, "b" * 64
REST = RouteState(CANCER, "", A)
INFER = f"/v2/models/{CANCER}/infer"


def split(weight: int, **kwargs: Any) -> RouteState:
    return RouteState(CANCER, "r1", A, B, weight, **kwargs)


def ask(port: int, patient: str = "p", path: str = INFER, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        given = {"x-patient-id": patient, **{key.replace("_", "-"): value for key, value in headers.items()}}
        connection.request("POST", path, b"{}", given)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body.startswith(b"{") else {}
    finally:
        connection.close()


@pytest.fixture
def router(gateway: Gateway) -> EnvoyRouter:
    desired = DesiredState(gateway.dataplane)
    desired.place(CANCER, A)
    desired.place(CANCER, B, keep=A)
    gateway.authority.granted = {A: Scope.TRAFFIC, B: Scope.TRAFFIC}
    router = EnvoyRouter(gateway.dataplane, gateway.authority)
    router.apply(REST, 0.0)
    return router


def test_a_rejected_update_keeps_the_old_routes_also_over_a_restart(
    router: EnvoyRouter, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.apply(split(10), 0.0)
    good = router_module.routes_for

    def broken(route: RouteState) -> list[dict[str, Any]]:
        routes = good(route)
        routes[0]["route"]["weighted_clusters"]["clusters"][0]["name"] = "no-such-cluster"
        return routes

    monkeypatch.setattr(router_module, "routes_for", broken)
    with pytest.raises(RouteRejected, match="keeps the previous"):
        router.apply(split(50), 0.0)
    monkeypatch.undo()
    assert router.read(CANCER) == split(10)
    assert router.read_many([CANCER, "breast"]) == {CANCER: split(10), "breast": None}
    assert ask(gateway.ports.gateway)[0] == 200
    gateway.kill()
    gateway.start()
    wait_until(lambda: router.read(CANCER) == split(10), 5, "routes after the restart")
    assert router.apply(split(25), 0.0).version > 1
    assert router.read(CANCER) == split(25)


def test_envoy_killed_and_started_again_finds_its_routes(router: EnvoyRouter, gateway: Gateway) -> None:
    router.apply(split(100), 0.0)
    gateway.kill()
    with pytest.raises(RoutingUnavailable, match="admin port"):
        router.read(CANCER)
    gateway.start()
    assert router.read(CANCER) == split(100)
    assert ask(gateway.ports.gateway)[1]["from"] == "green"


def test_while_envoy_is_down_only_a_retreat_is_written(router: EnvoyRouter, gateway: Gateway) -> None:
    router.apply(split(10), 0.0)
    gateway.kill()
    for route in (split(50), split(10).at_rest()):
        with pytest.raises(RoutingUnavailable):
            router.apply(route, 0.0)
    gateway.start()
    assert router.read(CANCER) == split(10).at_rest()


def test_a_rollback_repeated_while_the_admin_port_is_silent_is_confirmed_afterwards(
    router: EnvoyRouter, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.apply(split(50), 0.0)
    with monkeypatch.context() as silent:

        def get(admin: EnvoyAdmin, path: str) -> bytes:
            raise RoutingUnavailable("no answer")

        silent.setattr(EnvoyAdmin, "get", get)
        for _ in range(3):
            with pytest.raises(RoutingUnavailable):
                router.apply(split(50).at_rest(), 0.0)
    wait_until(lambda: router.read(CANCER) == split(50).at_rest(), 5, "the route of the file")
    router.apply(split(50).at_rest(), 0.0)


def test_foreign_routes_and_clusters_survive_and_two_cancer_types_do_not_meet(
    router: EnvoyRouter, gateway: Gateway
) -> None:
    file = ConfigFile(gateway.dataplane, ROUTES)
    version, resources = file.read()
    foreign = {"name": "status", "match": {"prefix": "/status"}, "direct_response": {"status": 204}}
    resources[0]["virtual_hosts"][0]["routes"].insert(1, foreign)
    file.write(version + 1, resources)
    assert router.confirm(CANCER, version + 1, 5.0)
    DesiredState(gateway.dataplane).place("breast", A)
    router.apply(RouteState("breast", "", A), 0.0)
    router.apply(split(10), 0.0)
    router.apply(REST, 0.0)
    routes = file.read()[1][0]["virtual_hosts"][0]["routes"]
    assert foreign in routes
    assert ask(gateway.ports.gateway, path="/status")[0] == 204
    assert ask(gateway.ports.gateway, path="/v2/models/breast/infer")[0] == 200
    names = {cluster["name"] for cluster in ConfigFile(gateway.dataplane, CLUSTERS).read()[1]}
    assert names == {f"breast-{A[:12]}", f"{CANCER}-{A[:12]}"}


def test_a_damaged_route_file_does_not_stop_a_rollback(router: EnvoyRouter, gateway: Gateway) -> None:
    router.apply(split(50), 0.0)
    ConfigFile(gateway.dataplane, ROUTES).path.write_text("{ broken")
    router.apply(split(50).at_rest(), 0.0)
    assert router.read(CANCER) == split(50).at_rest()


def test_a_dead_challenger_costs_no_patient_an_answer_and_is_counted(router: EnvoyRouter, gateway: Gateway) -> None:
    telemetry = EnvoyTelemetry(gateway.dataplane)
    router.apply(split(100), 0.0)
    assert [ask(gateway.ports.gateway)[0] for _ in range(5)] == [200] * 5
    assert telemetry.counts(CANCER) == {A: ServiceCounts(0, 0), B: ServiceCounts(5, 0)}
    gateway.green.mode = "503"
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(gateway.ports.gateway), range(64)))
    assert {(status, body["from"]) for status, body in answers} == {(200, "blue")}
    counts = telemetry.counts(CANCER)
    assert counts[A] == ServiceCounts(64, 0)
    assert counts[B].errors == counts[B].requests - 5 >= 5, "until the proxy ejects it, every attempt is counted"


def test_errors_on_mirrored_copies_are_the_challengers_and_no_patients(router: EnvoyRouter, gateway: Gateway) -> None:
    telemetry = EnvoyTelemetry(gateway.dataplane)
    router.apply(split(0, mirror=True), 0.0)
    gateway.green.mode = "500"
    assert [ask(gateway.ports.gateway)[0] for _ in range(6)] == [200] * 6
    wait_until(lambda: telemetry.counts(CANCER) == {A: ServiceCounts(6, 0), B: ServiceCounts(6, 6)}, 5, "counters")
    wait_until(lambda: telemetry.counts(CANCER)[A].latency[-1:] == ((3_600_000.0, 6),), 10, "timed answers")
    many = telemetry.counts_many([CANCER, "breast"])[CANCER]
    assert {d: n.latency for d, n in many.items()} == {d: n.latency for d, n in telemetry.counts(CANCER).items()}
    upto = [n for _, n in telemetry.counts(CANCER)[A].latency]
    assert upto == sorted(upto), "a cumulative histogram"


def test_telemetry_without_envoy_or_route_is_no_data(router: EnvoyRouter, gateway: Gateway) -> None:
    telemetry = EnvoyTelemetry(gateway.dataplane)
    assert isinstance(telemetry.counts("breast"), NoData)
    assert gateway.process is not None
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    assert isinstance(telemetry.counts(CANCER), NoData)
    assert not EnvoyAdmin(gateway.ports.admin).ready()
