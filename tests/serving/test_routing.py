"""The router against a real Envoy."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
from collections import Counter
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
    Telemetry,
    TrafficRouter,
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


def test_it_is_a_traffic_router(router: EnvoyRouter, gateway: Gateway) -> None:
    assert isinstance(router, TrafficRouter)
    assert isinstance(EnvoyTelemetry(gateway.dataplane), Telemetry)


def test_headers_of_the_client_cannot_change_arm_digest_weight_or_rollout(
    router: EnvoyRouter, gateway: Gateway
) -> None:
    router.apply(split(0, mirror=True), 0.0)
    forged = {"x_arm": "challenger", "x_champion_digest": "f", "x_challenger_digest": "f", "x_challenger_weight": "99",
              "x_rollout_id": "f", "x_copy_for": "challenger", "x_variant": "challenger"}  # fmt: skip
    status, answer = ask(gateway.ports.gateway, x_request_id="q1", **forged)
    seen = answer["headers"]
    assert (status, answer["from"]) == (200, "blue")
    assert (seen["x-arm"], seen["x-copy-for"], seen["x-challenger-weight"]) == ("champion", "none", "0")
    assert (seen["x-champion-digest"], seen["x-challenger-digest"], seen["x-rollout-id"]) == (A, B, "r1")
    wait_until(lambda: len(gateway.green.seen) == 1, 5, "mirrored copy")
    copied = gateway.green.seen[0]
    assert copied["x-copy-for"] == "challenger"
    assert copied["x-request-id"] == seen["x-request-id"] == "q1"
    assert copied["host"].split(":")[0].endswith("-shadow")
    router.apply(REST, 0.0)
    _, answer = ask(gateway.ports.gateway, **forged)
    assert answer["from"] == "blue"
    assert {"x-challenger-digest", "x-rollout-id"}.isdisjoint(answer["headers"])


def test_split_is_sticky_and_a_larger_weight_moves_nobody_back(router: EnvoyRouter, gateway: Gateway) -> None:
    patients = [f"{number:032x}" for number in range(300)]

    def arms() -> dict[str, str]:
        with ThreadPoolExecutor(8) as pool:
            return dict(
                zip(patients, pool.map(lambda p: ask(gateway.ports.gateway, p)[1]["headers"]["x-arm"], patients),
                    strict=True)
            )  # fmt: skip

    taken: list[set[str]] = []
    for weight in (10, 25, 50, 10):
        router.apply(split(weight), 0.0)
        first = arms()
        taken.append({patient for patient, arm in first.items() if arm == "challenger"})
    assert arms() == first
    assert taken[0] < taken[1] < taken[2]
    assert taken[3] == taken[0]
    assert all(abs(len(group) / 300 - share) < 0.08 for group, share in zip(taken, (0.1, 0.25, 0.5), strict=False))
    assert gateway.green.seen[-1]["x-challenger-weight"] in ("10", "50")


def test_mirror_in_a_split_copies_to_both_models(router: EnvoyRouter, gateway: Gateway) -> None:
    router.apply(split(100, mirror=True), 0.0)
    gateway.blue.seen.clear(), gateway.green.seen.clear()
    ask(gateway.ports.gateway)
    wait_until(lambda: len(gateway.green.seen) == 2 and len(gateway.blue.seen) == 1, 5, "copies")
    assert gateway.blue.seen[0]["x-copy-for"] == "champion"
    assert {seen["x-copy-for"] for seen in gateway.green.seen} == {"none", "challenger"}


def test_pin_chooses_by_header_only_while_the_route_allows_it(router: EnvoyRouter, gateway: Gateway) -> None:
    router.apply(split(0, pinned=True), 0.0)
    status, answer = ask(gateway.ports.gateway, x_variant="challenger")
    assert (status, answer["from"], answer["headers"]["x-arm"]) == (200, "green", "challenger")
    assert "x-rollout-id" not in answer["headers"]
    assert ask(gateway.ports.gateway, x_variant="unknown")[1]["from"] == "blue"
    router.apply(REST, 0.0)
    assert ask(gateway.ports.gateway, x_variant="challenger")[1]["from"] == "blue"


def test_outcomes_and_metadata_go_to_the_champion_without_copies(router: EnvoyRouter, gateway: Gateway) -> None:
    router.apply(split(0, mirror=True), 0.0)
    assert ask(gateway.ports.gateway, path=f"/v2/models/{CANCER}/outcomes")[1]["from"] == "blue"
    assert ask(gateway.ports.gateway, path=f"/v2/models/{CANCER}_fna/infer")[0] == 404
    time.sleep(0.2)
    assert gateway.green.seen == []


def test_100_reweights_under_load_lose_no_request(router: EnvoyRouter, gateway: Gateway) -> None:
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def load(worker: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.ports.gateway, timeout=15)
        count: Counter[int] = Counter()
        number = 0
        while not done.is_set():
            number += 1
            connection.request("POST", INFER, b"{}", {"x-patient-id": f"{worker}-{number}"})
            answer = connection.getresponse()
            answer.read()
            count[answer.status] += 1
        connection.close()
        statuses.update(count)

    workers = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    versions = []
    try:
        for step in range(100):
            route = REST if step % 10 == 9 else split((step * 37) % 101, mirror=step % 3 == 0, pinned=step % 5 == 0)
            versions.append(router.apply(route, 0.0).version)
    finally:
        done.set()
        for worker in workers:
            worker.join()
    print(f"{sum(statuses.values())} requests during 100 route changes: {dict(statuses)}")
    assert set(statuses) == {200}
    assert sum(statuses.values()) > 300
    assert versions == sorted(set(versions))
    assert router.read(CANCER) == REST


def test_the_same_route_again_is_not_written(router: EnvoyRouter) -> None:
    first = router.apply(split(10), 0.0)
    assert router.apply(split(10), 0.0).version == first.version
    assert router.confirm(CANCER, first.version, 1.0)
    assert not router.confirm(CANCER, first.version + 1, 0.05)


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


def test_scope_is_asked_for_before_a_route_is_written_but_never_for_a_rollback(
    router: EnvoyRouter, gateway: Gateway
) -> None:
    gateway.authority.granted[B] = Scope.SHADOW
    with pytest.raises(PermissionError):
        router.apply(split(5), 0.0)
    assert router.read(CANCER) == REST
    router.apply(split(0, mirror=True), 0.0)
    gateway.authority.granted = {}
    router.apply(split(0, mirror=True).at_rest(), 0.0)
    assert router.read(CANCER) == split(0).at_rest()


def test_a_model_in_no_slot_or_not_ready_gets_no_route(
    router: EnvoyRouter, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "MODEL_READY_SECONDS", 0.2)
    gateway.green.stop()
    with pytest.raises(RoutingUnavailable, match="not ready"):
        router.apply(split(5), 0.0)
    assert router.read(CANCER) == REST


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
    gateway.green.mode = "500"
    assert ask(gateway.ports.gateway)[0] == 500
    assert telemetry.counts(CANCER) == {A: ServiceCounts(64, 0), B: ServiceCounts(70, 65)}


def test_errors_on_mirrored_copies_are_the_challengers_and_no_patients(router: EnvoyRouter, gateway: Gateway) -> None:
    telemetry = EnvoyTelemetry(gateway.dataplane)
    router.apply(split(0, mirror=True), 0.0)
    gateway.green.mode = "500"
    assert [ask(gateway.ports.gateway)[0] for _ in range(6)] == [200] * 6
    wait_until(lambda: telemetry.counts(CANCER) == {A: ServiceCounts(6, 0), B: ServiceCounts(6, 6)}, 5, "counters")


def test_telemetry_without_envoy_or_route_is_no_data(router: EnvoyRouter, gateway: Gateway) -> None:
    telemetry = EnvoyTelemetry(gateway.dataplane)
    assert isinstance(telemetry.counts("breast"), NoData)
    assert gateway.process is not None
    os.kill(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()
    assert isinstance(telemetry.counts(CANCER), NoData)
    assert not EnvoyAdmin(gateway.ports.admin).ready()
