"""What every router must do, with real requests through a real Envoy: once locally, once behind Istio's objects.

With KUBECONFIG set they also run against that cluster (what it needs is in `real_cluster`).
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.entries import StaleLease
from clinical_assets.rollout.routing import RouteConflict, RouteState, RoutingUnavailable, TrafficRouter
from clinical_assets.serving.envoy import router as envoy_router
from clinical_assets.serving.kubernetes import backend
from tests.kubernetes_double.api import ApiDouble
from tests.kubernetes_double.server import ApiServer
from tests.serving.conftest import CANCER, wait_until
from tests.serving.planes import INFER, VENDOR, A, B, IstioPlane, LocalPlane, Plane
from tests.serving.real_cluster import RealCluster

REST = RouteState(CANCER, "", A)


def split(weight: int, **kwargs: Any) -> RouteState:
    return RouteState(CANCER, "r1", A, B, weight, **kwargs)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    running = ApiServer(ApiDouble())
    yield running
    running.stop()


PLANES = ["envoy", "istio", *(["cluster"] if "KUBECONFIG" in os.environ else [])]


@pytest.fixture(params=PLANES)
def plane(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Plane]:
    if request.param == "cluster":
        made = RealCluster(tmp_path)
    elif request.param == "istio":
        made = IstioPlane(request.getfixturevalue("gateway"), request.getfixturevalue("server"))
    else:
        made = LocalPlane(request.getfixturevalue("gateway"))
    made.authority.granted = {A: Scope.TRAFFIC, B: Scope.TRAFFIC}
    yield made
    made.stop()


@pytest.fixture
def router(plane: Plane) -> TrafficRouter:
    router = plane.router()
    router.apply(REST, 0.0)
    return router


def test_it_is_a_traffic_router(router: TrafficRouter) -> None:
    assert isinstance(router, TrafficRouter)
    assert router.read(CANCER) == REST


def test_headers_of_the_client_cannot_change_arm_digest_weight_or_rollout(router: TrafficRouter, plane: Plane) -> None:
    router.apply(split(0, mirror=True), 0.0)
    forged = {"x_arm": "challenger", "x_champion_digest": "f", "x_challenger_digest": "f", "x_challenger_weight": "99",
              "x_rollout_id": "f", "x_copy_for": "challenger", "x_variant": "challenger"}  # fmt: skip
    status, answer = plane.ask(x_request_id="q1", **forged)
    seen = answer["headers"]
    assert (status, answer["from"]) == (200, "blue")
    assert (seen["x-arm"], seen["x-copy-for"], seen["x-challenger-weight"]) == ("champion", "none", "0")
    assert (seen["x-champion-digest"], seen["x-challenger-digest"], seen["x-rollout-id"]) == (A, B, "r1")
    wait_until(lambda: len(plane.green.seen) == 1, 5, "mirrored copy")
    copied = plane.green.seen[0]
    assert copied["x-copy-for"] == "challenger"
    assert copied["x-request-id"] == seen["x-request-id"] == "q1"
    router.apply(REST, 0.0)
    _, answer = plane.ask(**forged)
    assert answer["from"] == "blue"
    assert {"x-challenger-digest", "x-rollout-id"}.isdisjoint(answer["headers"])


def test_split_is_sticky_and_a_larger_weight_moves_nobody_back(router: TrafficRouter, plane: Plane) -> None:
    patients = [f"{number:032x}" for number in range(300)]

    def arms() -> dict[str, str]:
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(lambda patient: plane.ask(patient)[1]["headers"]["x-arm"], patients)
            return dict(zip(patients, answers, strict=True))

    taken: list[set[str]] = []
    first: dict[str, str] = {}
    for weight in (10, 25, 50, 10):
        router.apply(split(weight), 0.0)
        first = arms()
        taken.append({patient for patient, arm in first.items() if arm == "challenger"})
    assert arms() == first
    assert taken[0] < taken[1] < taken[2]
    assert taken[3] == taken[0]
    assert all(abs(len(group) / 300 - share) < 0.08 for group, share in zip(taken, (0.1, 0.25, 0.5), strict=False))
    assert plane.green.seen[-1]["x-challenger-weight"] in ("10", "50")


def test_mirror_in_a_split_copies_to_both_models(router: TrafficRouter, plane: Plane) -> None:
    router.apply(split(99, mirror=True), 0.0)
    plane.blue.seen.clear(), plane.green.seen.clear()
    assert plane.ask()[1]["from"] == "green"
    wait_until(lambda: len(plane.green.seen) == 2 and len(plane.blue.seen) == 1, 5, "copies")
    assert plane.blue.seen[0]["x-copy-for"] == "champion"
    assert {seen["x-copy-for"] for seen in plane.green.seen} == {"none", "challenger"}


def test_pin_chooses_by_header_only_while_the_route_allows_it(router: TrafficRouter, plane: Plane) -> None:
    router.apply(split(0, pinned=True), 0.0)
    status, answer = plane.ask(x_variant="challenger")
    assert (status, answer["from"], answer["headers"]["x-arm"]) == (200, "green", "challenger")
    assert "x-rollout-id" not in answer["headers"]
    assert plane.ask(x_variant="unknown")[1]["from"] == "blue"
    router.apply(REST, 0.0)
    assert plane.ask(x_variant="challenger")[1]["from"] == "blue"


def test_outcomes_and_metadata_go_to_the_champion_without_copies(router: TrafficRouter, plane: Plane) -> None:
    router.apply(split(0, mirror=True), 0.0)
    assert plane.ask(path=f"/v2/models/{CANCER}/outcomes")[1]["from"] == "blue"
    assert plane.ask(path=f"/v2/models/{CANCER}")[1]["from"] == "blue"
    assert plane.ask(path=f"/v2/models/{CANCER}_fna/infer")[0] == 404
    time.sleep(0.2)
    assert plane.green.seen == []


def test_case_4_after_one_write_neither_header_nor_old_assignment_reaches_the_challenger(
    router: TrafficRouter, plane: Plane
) -> None:
    router.apply(split(50, mirror=True, pinned=True), 0.0)
    patients = [f"{number:032x}" for number in range(60)]
    theirs = [patient for patient in patients if plane.ask(patient)[1]["from"] == "green"]
    assert theirs
    router.apply(split(50).at_rest(), 0.0)
    time.sleep(0.1)
    plane.green.seen.clear()
    assert {plane.ask(patient)[1]["from"] for patient in theirs} == {"blue"}
    assert plane.ask(x_variant="challenger")[1]["from"] == "blue"
    time.sleep(0.2)
    assert plane.green.seen == [], "no copy either"


def test_case_5_everybody_at_weight_100_and_nobody_at_0(router: TrafficRouter, plane: Plane) -> None:
    patients = [f"{number:032x}" for number in range(40)]
    for weight, everybody in ((100, {"green"}), (0, {"blue"})):
        router.apply(split(weight), 0.0)
        assert {plane.ask(patient)[1]["from"] for patient in patients} == everybody


@pytest.mark.parametrize("weight", [50, 100])
def test_a_challenger_whose_servers_are_gone_costs_no_patient_an_answer(
    router: TrafficRouter, plane: Plane, weight: int
) -> None:
    if isinstance(plane, RealCluster):
        pytest.skip("kills the test's own server")
    router.apply(split(weight), 0.0)
    patients = [f"patient-{i}" for i in range(64)]
    before = {patient: plane.ask(patient)[1]["from"] for patient in patients}
    assert "green" in before.values()
    plane.green.die()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(plane.ask, patients * 2))
    assert {(status, body.get("from")) for status, body in answers} == {(200, "blue")}
    in_its_place = [body["headers"] for (_, body), p in zip(answers, patients, strict=False) if before[p] == "green"]
    assert {headers["x-arm"] for headers in in_its_place} == {"challenger"}, "the server sees for whom it stands in"


def test_a_challenger_that_fails_five_times_in_a_row_is_ejected_and_its_patients_are_answered(
    router: TrafficRouter, plane: Plane
) -> None:
    if isinstance(plane, RealCluster):
        pytest.skip("needs a model server that fails on command")
    router.apply(split(100), 0.0)
    plane.green.mode = "500"
    answers = [plane.ask(f"p{number}") for number in range(20)]
    assert [status for status, _ in answers] == [500] * 5 + [200] * 15
    assert {body["from"] for _, body in answers[5:]} == {"blue"}
    time.sleep(1.2)  # a health check, which the server passes all the time
    assert [plane.ask(f"q{number}")[1]["from"] for number in range(5)] == ["blue"] * 5
    plane.blue.mode, plane.green.mode = "500", "ok"
    router.apply(split(0), 0.0)
    failing = [plane.ask(f"p{number}") for number in range(12)]
    assert {body["from"] for _, body in failing} == {"blue"}, "no fault of the champion gives the challenger patients"


def test_a_promoted_model_is_watched_by_the_old_one_on_copies(router: TrafficRouter, plane: Plane) -> None:
    router.apply(split(100, mirror=True), 0.0)
    assert router.read(CANCER) == split(100, mirror=True)
    for number in range(8):
        assert plane.ask(f"p{number}")[1]["from"] == "green"
    wait_until(lambda: len(plane.blue.seen) == 8, 5, "copies for the old model")
    assert {headers["x-copy-for"] for headers in plane.blue.seen} == {"champion"}
    assert len(plane.green.seen) == 8, "no copy for the model that answers"


def test_a_refusal_answers_503_with_the_reason_and_outcomes_still_arrive(router: TrafficRouter, plane: Plane) -> None:
    router.apply(split(25), 0.0)
    plane.authority.granted = {}
    refusal = RouteState(CANCER, "r1", A, refused=True)
    router.apply(refusal, 0.0)
    assert router.read(CANCER) == refusal
    status, body = plane.ask()
    assert (status, "both models" in body["error"]) == (503, True)
    assert plane.ask(path=f"/v2/models/{CANCER}/outcomes")[0] == 200
    with pytest.raises(PermissionError):
        router.apply(RouteState(CANCER, "r1", A), 0.0)
    plane.authority.granted = {A: Scope.TRAFFIC}
    router.apply(RouteState(CANCER, "r1", A), 0.0)
    assert plane.ask()[1]["from"] == "blue"


def test_case_12_100_reweights_under_load_lose_no_request(router: TrafficRouter, plane: Plane) -> None:
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def load(worker: int) -> None:
        connection = http.client.HTTPConnection(*plane.gate, timeout=15)
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


def test_the_same_route_again_is_not_written(router: TrafficRouter) -> None:
    first = router.apply(split(10), 0.0)
    assert router.apply(split(10), 0.0).version == first.version
    assert router.confirm(CANCER, first.version, 1.0)
    assert not router.confirm(CANCER, first.version + 1, 0.05)


def test_case_3_a_third_destination_is_named_and_only_the_way_back_replaces_it(
    router: TrafficRouter, plane: Plane
) -> None:
    router.apply(split(10), 0.0)
    plane.add_destination()
    with pytest.raises(RouteConflict, match=VENDOR):
        router.read(CANCER)
    with pytest.raises(RouteConflict, match=VENDOR):
        router.apply(split(5), 0.0)
    router.apply(split(10).at_rest(), 0.0)
    assert router.read(CANCER) == split(10).at_rest()


def test_case_7_during_an_outage_nothing_advances_and_the_rollback_takes_effect_afterwards(
    router: TrafficRouter, plane: Plane
) -> None:
    router.apply(split(10), 0.0)
    plane.outage()
    for route in (split(50), split(10).at_rest()):
        with pytest.raises(RoutingUnavailable):
            router.apply(route, 0.0)
    plane.recover()
    assert router.read(CANCER) in (split(10), split(10).at_rest())
    router.apply(split(10).at_rest(), 0.0)
    assert router.read(CANCER) == split(10).at_rest()


def test_case_8_a_deleted_route_is_seen_and_put_back_with_the_challenger_at_0(
    router: TrafficRouter, plane: Plane
) -> None:
    version = router.apply(split(10), 0.0).version
    plane.delete()
    assert router.read(CANCER) is None
    assert plane.ask()[0] == 404
    assert router.apply(split(0), 0.0).version > version
    assert plane.ask()[1]["from"] == "blue"


def test_case_9_a_hand_edited_weight_is_seen_but_is_not_verified_scope(router: TrafficRouter, plane: Plane) -> None:
    router.apply(split(10), 0.0)
    plane.edit(40, 60)
    assert router.read(CANCER) == split(60)
    plane.authority.granted[B] = Scope.SHADOW
    with pytest.raises(PermissionError):
        router.apply(split(50), 0.0)
    router.apply(split(10), 0.0)
    assert router.read(CANCER) == split(10)


def test_scope_is_asked_for_before_a_route_is_written_but_never_for_a_rollback(
    router: TrafficRouter, plane: Plane
) -> None:
    plane.authority.granted[B] = Scope.SHADOW
    with pytest.raises(PermissionError):
        router.apply(split(5), 0.0)
    assert router.read(CANCER) == REST
    router.apply(split(0, mirror=True), 0.0)
    plane.authority.granted = {}
    router.apply(split(0, mirror=True).at_rest(), 0.0)
    assert router.read(CANCER) == split(0).at_rest()


def test_a_model_that_is_not_ready_gets_no_route(
    router: TrafficRouter, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy_router, "MODEL_READY_SECONDS", 0.2)
    monkeypatch.setattr(backend, "READY_SECONDS", 0.2)
    plane.unload()
    with pytest.raises(RoutingUnavailable, match="not ready"):
        router.apply(split(5), 0.0)
    assert router.read(CANCER) == REST


def test_a_writer_that_was_overtaken_writes_nothing(router: TrafficRouter, plane: Plane) -> None:
    router.apply(split(10), 0.0)

    def overtaken() -> None:
        raise StaleLease("lease route:colon: token 1 is stale")

    for route in (split(50), split(10).at_rest()):
        with pytest.raises(StaleLease):
            router.apply(route, 0.0, overtaken)
    assert router.read(CANCER) == split(10)


def test_case_1_foreign_routes_survive_every_change_of_ours(router: TrafficRouter, plane: Plane) -> None:
    plane.add_route()
    for route in (split(10), split(40), REST):
        router.apply(route, 0.0)
        assert plane.ask(path="/status")[0] == 204
        assert plane.ask()[0] == 200
