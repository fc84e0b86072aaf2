"""The Istio router against the Kubernetes API: races, foreign content, outages, rights (numbers: acceptance cases)."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.entries import StaleLease
from clinical_assets.rollout.routing import (
    RouteConflict,
    RouteRejected,
    RouteState,
    RoutingUnavailable,
    TrafficRouter,
)
from clinical_assets.serving.istio import router as router_module
from clinical_assets.serving.istio.router import IstioRouter
from clinical_assets.serving.kubernetes.api import LostRace
from tests.kubernetes_double.api import ApiDouble, Request
from tests.kubernetes_double.cluster import PLATFORM, Cluster
from tests.kubernetes_double.server import ApiServer
from tests.serving.conftest import Scopes

A, B = "a" * 64, "b" * 64
CANCER = "colon"
REST = RouteState(CANCER, "", A)


def split(weight: int, **kwargs: bool) -> RouteState:
    return RouteState(CANCER, "r1", A, B, weight, **kwargs)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    running = ApiServer(ApiDouble())
    yield running
    running.stop()


@pytest.fixture
def authority() -> Scopes:
    return Scopes({A: Scope.TRAFFIC, B: Scope.TRAFFIC})


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    engine = engine_for(f"sqlite:///{tmp_path / 'ledger.db'}")
    create_tables(engine)
    monkeypatch.setattr(router_module, "CONFIRM_SECONDS", 0.2)
    made = Cluster(server, engine)
    for digest in (A, B):
        made.serving().place(CANCER, digest)
    yield made
    engine.dispose()


@pytest.fixture
def router(cluster: Cluster, authority: Scopes) -> IstioRouter:
    made = cluster.router(authority)
    made.apply(REST, 0.0)
    return made


def test_it_is_a_traffic_router(router: IstioRouter) -> None:
    assert isinstance(router, TrafficRouter)
    assert router.read(CANCER) == REST


def test_all_stages_of_a_rollout_and_back(router: IstioRouter, cluster: Cluster) -> None:
    versions = []
    for route in (split(0, mirror=True), split(5), split(50, mirror=True, pinned=True), split(100), REST):
        versions.append(router.apply(route, 0.0).version)
        assert router.read(CANCER) == route
        assert router.confirm(CANCER, versions[-1], 0.1)
    assert versions == sorted(set(versions))
    assert not router.confirm(CANCER, versions[-1] + 1, 0.1)
    subsets = cluster.api.objects[cluster.names.destination_rule]["spec"]["subsets"]
    assert [entry["name"] for entry in subsets] == [f"colon-{A[:12]}"], "a subset without traffic is taken away"


def test_case_1_a_reweight_travels_as_two_weights_and_the_header_that_states_them(
    router: IstioRouter, cluster: Cluster
) -> None:
    router.apply(split(10), 0.0)
    sent: list[Request] = []
    cluster.api.before_write = sent.append
    before = copy.deepcopy(cluster.http())
    router.apply(split(25), 0.0)
    patches = [request.body for request in sent if request.path == cluster.names.virtual_service]
    at = cluster.split(CANCER)[0]
    assert len(patches) == 1
    entry = f"/spec/http/{at}"
    assert {step["path"] for step in patches[0] if step["op"] == "replace"} == {
        f"{entry}/headers/request/set/x-challenger-weight", f"{entry}/route/0/weight", f"{entry}/route/1/weight",
    }  # fmt: skip
    assert [step["path"] for step in patches[0] if step["op"] != "replace"] == ["/metadata/resourceVersion"]
    after = cluster.http()
    assert [entry["weight"] for entry in after[at]["route"]] == [75, 25]
    for destination, weight in zip(after[at]["route"], (90, 10), strict=True):
        destination["weight"] = weight
    after[at]["headers"]["request"]["set"]["x-challenger-weight"] = "10"
    assert json.dumps(after) == json.dumps(before)


def test_case_2_weights_are_whole_per_cents_for_any_input(router: IstioRouter, cluster: Cluster) -> None:
    router.apply(split(10), 0.0)
    before = copy.deepcopy(cluster.http())
    for wrong in (12.5, -1, 101, True, "10"):
        with pytest.raises(ValueError, match="whole per cent"):
            split(wrong)  # type: ignore[arg-type]
    assert cluster.http() == before
    for weight in range(0, 101, 9):
        router.apply(split(weight), 0.0)
        destinations = cluster.split(CANCER)[1]["route"]
        weights = [destination.get("weight") for destination in destinations]
        assert weights == [None] if weight in (0, 100) else (sum(weights) == 100 and min(weights) > 0)


def test_case_3_a_third_destination_is_refused_and_named_with_its_writer(router: IstioRouter, cluster: Cluster) -> None:
    router.apply(split(10), 0.0)
    at = cluster.split(CANCER)[0]
    canary = {"destination": {"host": "canary.vendor.svc.cluster.local", "port": {"number": 80}}, "weight": 10}
    steps = [
        {"op": "replace", "path": f"/spec/http/{at}/route/0/weight", "value": 80},
        {"op": "add", "path": f"/spec/http/{at}/route/-", "value": canary},
    ]
    cluster.write("PATCH", cluster.names.virtual_service, steps, "vendor-tool")
    with pytest.raises(RouteConflict, match=r"canary\.vendor.*vendor-tool"):
        router.read(CANCER)
    before = copy.deepcopy(cluster.http())
    with pytest.raises(RouteConflict, match="canary"):
        router.apply(split(5), 0.0)
    assert cluster.http() == before
    router.apply(split(0).at_rest(), 0.0)
    assert router.read(CANCER) == split(0).at_rest(), "only the way back to the champion replaces it"


def test_case_4_a_rollback_is_one_write_that_removes_header_mirror_sticky_split_and_weight(
    router: IstioRouter, cluster: Cluster
) -> None:
    router.apply(split(50, mirror=True, pinned=True), 0.0)
    writes: list[Request] = []
    cluster.api.before_write = writes.append
    router.apply(split(50).at_rest(), 0.0)
    assert [write.path for write in writes].count(cluster.names.virtual_service) == 1
    assert writes[0].path == cluster.names.virtual_service, "the route first, the subset behind it afterwards"
    assert B[:12] not in json.dumps(cluster.http())
    names = [entry["name"] for entry in cluster.http()]
    assert names == ["clinical/colon/whole", "clinical/colon/other", "no-such-model"]


def test_case_5_a_lone_destination_carries_no_weight_and_is_out_of_reach_of_the_sticky_patch(
    router: IstioRouter, cluster: Cluster
) -> None:
    for weight in (0, 100):
        router.apply(split(weight, mirror=True), 0.0)
        _, entry = cluster.split(CANCER)
        assert entry["name"] == "clinical/colon/whole"
        assert "weight" not in entry["route"][0]
        assert router.read(CANCER) == split(weight, mirror=True)


def interfering(cluster: Cluster, path: str, times: int) -> list[int]:
    """Another writer labels the object just before each of our next writes to it."""
    left = [times]

    def write(request: Request) -> None:
        if request.path == path and request.query.get("fieldManager") == "clinical-rollout" and left[0]:
            left[0] -= 1
            body = {"metadata": {"labels": {"theirs": str(left[0])}}}
            cluster.write("PATCH", path, body, "vendor-tool", "application/merge-patch+json")

    cluster.api.before_write = write
    return left


def test_case_6_a_lost_race_is_run_again_and_the_other_writers_change_survives(
    router: IstioRouter, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = interfering(cluster, cluster.names.virtual_service, 3)
    router.apply(split(10), 0.0)
    assert left == [0]
    assert router.read(CANCER) == split(10)
    assert cluster.api.objects[cluster.names.virtual_service]["metadata"]["labels"] == {"theirs": "0"}
    monkeypatch.setattr(router_module, "BACKOFF_S", 0.0)
    interfering(cluster, cluster.names.virtual_service, 99)
    with pytest.raises(RouteConflict, match="6 times"):
        router.apply(split(25), 0.0)
    cluster.api.before_write = None
    assert router.read(CANCER) == split(10)


def test_case_6_the_api_answers_as_it_does_in_a_cluster(cluster: Cluster) -> None:
    api, path = cluster.connection("admin"), cluster.names.virtual_service
    held = api.get(path)
    assert held is not None
    api.patch(path, {"metadata": {"labels": {"x": "1"}}})
    with pytest.raises(LostRace, match="409"):
        api.patch(path, {"metadata": {"resourceVersion": held["metadata"]["resourceVersion"], "labels": {"x": "2"}}})
    stale = {"op": "test", "path": "/metadata/resourceVersion", "value": held["metadata"]["resourceVersion"]}
    with pytest.raises(LostRace, match="422"):
        api.patch(path, [stale, {"op": "remove", "path": "/spec/hosts"}])
    with pytest.raises(LostRace, match="409"):
        api.create(path, held)
    status, _ = cluster.api.handle(Request("PATCH", path, content_type="application/strategic-merge-patch+json"))
    assert status == 415


def test_a_late_writer_cannot_undo_the_rollback_that_overtook_it(
    router: IstioRouter, cluster: Cluster, authority: Scopes
) -> None:
    router.apply(split(10), 0.0)
    successor: list[IstioRouter] = []

    def still_ours() -> None:
        if successor:
            raise StaleLease("lease route:colon: token 1 is stale")

    def write(request: Request) -> None:
        if not successor and "/virtualservices/" in request.path:
            successor.append(cluster.router(authority))
            successor[0].apply(split(10).at_rest(), 0.0)

    cluster.api.before_write = write
    with pytest.raises(StaleLease):
        router.apply(split(25), 0.0, still_ours)
    assert router.read(CANCER) == split(10).at_rest()


def test_what_the_webhook_refuses_is_rejected_and_the_old_routes_stay(
    router: IstioRouter, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.apply(split(10), 0.0)
    monkeypatch.setattr(router_module, "_steps", lambda *_: [{"op": "replace", "path": "/spec/http", "value": []}])
    with pytest.raises(RouteRejected, match=r"validation\.istio\.io"):
        router.apply(split(25), 0.0)
    monkeypatch.undo()
    assert router.read(CANCER) == split(10)


@pytest.mark.parametrize("outage", ["refuse", "503"])
def test_case_7_without_the_api_nothing_advances_and_a_rollback_converges_when_it_returns(
    router: IstioRouter, cluster: Cluster, outage: str
) -> None:
    router.apply(split(10), 0.0)
    cluster.api.outage = outage
    for route in (split(25), split(10).at_rest()):
        with pytest.raises(RoutingUnavailable, match="Kubernetes API"):
            router.apply(route, 0.0)
    assert router.read(CANCER) == split(10), "the proxies go on"
    assert router.last_writer(CANCER) == ""
    cluster.api.outage = ""
    router.apply(split(10).at_rest(), 0.0)
    assert router.read(CANCER) == split(10).at_rest()


def test_case_7_a_write_whose_answer_is_lost_is_found_done(router: IstioRouter, cluster: Cluster) -> None:
    cluster.api.outage = "lost_answer"
    with pytest.raises(RoutingUnavailable):
        router.apply(split(0, mirror=True), 0.0)
    cluster.api.outage = ""
    router.apply(split(0, mirror=True), 0.0)
    assert router.read(CANCER) == split(0, mirror=True)


def test_case_8_a_deleted_route_comes_back_from_its_snapshot_with_everybodys_entries(
    router: IstioRouter, cluster: Cluster, authority: Scopes
) -> None:
    theirs = {"name": "vendor", "match": [{"uri": {"prefix": "/vendor"}}], "directResponse": {"status": 204}}
    cluster.write("PATCH", cluster.names.virtual_service, [{"op": "add", "path": "/spec/http/0", "value": theirs}])
    version = router.apply(split(10), 0.0).version
    cluster.delete_routes()
    assert router.read(CANCER) is None
    with pytest.raises(RouteRejected, match=r"rbac\.yaml"):
        router.apply(split(0), 0.0)
    cluster.allow_recreation()
    restored = router.apply(split(0), 0.0)
    assert restored.version > version
    assert router.read(CANCER) == split(0)
    assert theirs in cluster.http()


def test_case_9_hand_edited_weights_are_seen_with_their_writer_and_are_no_verified_scope(
    router: IstioRouter, cluster: Cluster, authority: Scopes
) -> None:
    router.apply(split(10), 0.0)
    assert router.last_writer(CANCER) == ""
    cluster.edit_weights(CANCER, 40, 60)
    assert router.read(CANCER) == split(60)
    assert router.last_writer(CANCER) == "kubectl-edit"
    authority.granted[B] = Scope.SHADOW
    with pytest.raises(PermissionError):
        router.apply(split(50), 0.0)
    router.apply(split(10), 0.0)
    assert (router.read(CANCER), router.last_writer(CANCER)) == (split(10), "")


def test_case_11_a_proxy_that_serves_something_else_is_no_confirmation(router: IstioRouter, cluster: Cluster) -> None:
    router.apply(split(10), 0.0)
    cluster.proxies.hold_one_back()
    with pytest.raises(RoutingUnavailable, match="different routes"):
        router.apply(split(25), 0.0)
    with pytest.raises(RoutingUnavailable, match=r"10\.0\.0\.2"):
        router.read(CANCER)
    cluster.proxies.stuck = None
    assert router.read(CANCER) == split(25)


def test_an_accepted_object_proves_nothing_while_istiod_is_down(router: IstioRouter, cluster: Cluster) -> None:
    router.apply(split(10), 0.0)
    cluster.proxies.freeze()
    with pytest.raises(RoutingUnavailable, match="istiod"):
        router.apply(split(10).at_rest(), 0.0)
    assert router.read(CANCER) == split(10)
    cluster.proxies.frozen = None
    assert router.read(CANCER) == split(10).at_rest(), "the rollback was written and takes effect when istiod returns"


def test_a_split_that_is_not_sticky_is_no_split(router: IstioRouter, cluster: Cluster) -> None:
    router.apply(split(10), 0.0)
    nothing = [{"op": "replace", "path": "/spec/configPatches", "value": []}]
    cluster.write("PATCH", cluster.names.envoy_filter, nothing)
    with pytest.raises(RouteConflict, match="EnvoyFilter"):
        router.read(CANCER)
    router.apply(split(25), 0.0)
    assert router.read(CANCER) == split(25), "an advance puts it back first"


def test_subsets_come_before_the_route_and_go_after_it(router: IstioRouter, cluster: Cluster) -> None:
    order: list[str] = []
    cluster.api.before_write = lambda request: order.append(request.path.split("/")[-2])
    router.apply(split(10), 0.0)
    router.apply(REST, 0.0)
    assert order == ["destinationrules", "virtualservices", "virtualservices", "destinationrules"]
    order.clear()
    cluster.serving().place("breast", A)
    router.apply(RouteState("breast", "", A), 0.0)
    assert order[-3:] == ["destinationrules", "envoyfilters", "virtualservices"]


def test_the_platform_may_touch_its_own_objects_and_no_others(cluster: Cluster) -> None:
    """What the installed Role says, judged by the API."""
    ours = cluster.names.virtual_service
    other = ours.replace("clinical-models", "payroll")
    secrets = f"/api/v1/namespaces/{cluster.names.namespace}/secrets/clinical-database"

    def code(method: str, path: str, token: str = PLATFORM, body: object = None) -> int:
        return cluster.api.handle(Request(method, path, {}, "application/json-patch+json", body, token))[0]

    assert (code("GET", ours), code("PATCH", ours, body=[])) == (200, 200)
    assert (code("GET", other), code("PATCH", other, body=[]), code("DELETE", ours)) == (403, 403, 403)
    assert code("GET", ours.rpartition("/")[0]) == 403, "no list"
    assert (code("POST", ours.rpartition("/")[0], body={}), code("GET", secrets)) == (403, 403)
    assert code("GET", ours, token="stolen") == 401


def test_a_model_that_is_not_ready_gets_no_route_but_a_rollback_does_not_wait(
    router: IstioRouter, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    router.apply(split(10), 0.0)
    cluster.api.set_pods_ready(False)
    monkeypatch.setattr("clinical_assets.serving.kubernetes.backend.READY_SECONDS", 0.0)
    with pytest.raises(RoutingUnavailable, match="minimum availability"):
        router.apply(split(25), 0.0)
    router.apply(split(5), 0.0)
    router.apply(split(5).at_rest(), 0.0)
    assert router.read(CANCER) == split(5).at_rest()
