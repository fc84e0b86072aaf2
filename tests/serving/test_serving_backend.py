"""What every serving back end must do: slots on this machine, Deployments in a cluster; and what a cluster adds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clinical_assets.foundation.database import engine_for
from clinical_assets.rollout.routing import RouteRejected, RoutingUnavailable
from clinical_assets.serving.desired import DesiredState, PlacementError
from clinical_assets.serving.kubernetes import backend, manifests
from clinical_assets.serving.kubernetes.backend import KubernetesServing
from clinical_assets.serving.kubernetes.manifests import PodOptions
from clinical_assets.serving.kubernetes.names import workload
from clinical_assets.serving.placement import ServingBackend
from tests.kubernetes_double.api import ApiDouble
from tests.kubernetes_double.cluster import Cluster
from tests.kubernetes_double.server import ApiServer

A, B, C = "a" * 64, "b" * 64, "c" * 64
CANCER = "breast_fna"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    running = ApiServer(ApiDouble())
    yield running
    running.stop()


@pytest.fixture
def cluster(server: ApiServer, tmp_path: Path) -> Cluster:
    return Cluster(server, engine_for(f"sqlite:///{tmp_path / 'ledger.db'}"))


class Wall:
    at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def wall() -> Wall:
    return Wall()


def in_cluster(cluster: Cluster, wall: Wall, routed: set[str] | None = None, **options: int) -> KubernetesServing:
    named = routed or set()
    pods = PodOptions("clinical:1", **options)
    return KubernetesServing(cluster.connection(), pods, lambda _, digest: digest in named, cluster.names, wall)


@pytest.fixture(params=["local", "kubernetes"])
def serving(request: pytest.FixtureRequest, tmp_path: Path, wall: Wall) -> ServingBackend:
    if request.param == "local":
        return DesiredState(tmp_path)
    return in_cluster(request.getfixturevalue("cluster"), wall)


def test_nothing_is_placed_at_first(serving: ServingBackend) -> None:
    assert serving.placed(CANCER) == []
    serving.retire(CANCER, A)
    serving.finish_retiring()


def test_champion_and_challenger_stand_side_by_side_and_placing_again_changes_nothing(serving: ServingBackend) -> None:
    first = serving.place(CANCER, A)
    assert serving.place(CANCER, A) == first
    assert serving.place(CANCER, B, keep=A) != first
    assert set(serving.placed(CANCER)) == {A, B}
    assert serving.placed("breast") == []


def test_a_third_model_takes_the_place_of_the_one_that_is_not_kept(serving: ServingBackend) -> None:
    serving.place(CANCER, A)
    serving.place(CANCER, B, keep=A)
    with pytest.raises(PlacementError, match="champion to keep"):
        serving.place(CANCER, C, keep="d" * 64)
    serving.place(CANCER, C, keep=A)
    assert set(serving.placed(CANCER)) == {A, C}


def test_a_retired_model_is_no_longer_placed_and_can_come_back(serving: ServingBackend) -> None:
    serving.place(CANCER, A)
    serving.place(CANCER, B, keep=A)
    serving.retire(CANCER, B)
    serving.retire(CANCER, B)
    assert serving.placed(CANCER) == [A]
    serving.place(CANCER, B, keep=A)
    assert set(serving.placed(CANCER)) == {A, B}


def held(cluster: Cluster, digest: str) -> set[str]:
    name = workload(CANCER, digest)
    return {path.split("/")[-2] for path in cluster.api.objects if path.endswith(f"/{name}")}


def test_a_model_is_drained_before_it_is_removed(cluster: Cluster, wall: Wall) -> None:
    serving = in_cluster(cluster, wall, max_replicas=4)
    serving.place(CANCER, A)
    assert held(cluster, A) == {"deployments", "services", "horizontalpodautoscalers", "poddisruptionbudgets"}
    serving.retire(CANCER, A)
    serving.finish_retiring()
    assert "deployments" in held(cluster, A), "requests under way are answered"
    wall.at += manifests.DRAIN_S
    serving.finish_retiring()
    assert held(cluster, A) == set()


def test_a_model_that_a_route_names_is_never_removed(cluster: Cluster, wall: Wall) -> None:
    routed = {A}
    serving = in_cluster(cluster, wall, routed)
    serving.place(CANCER, A)
    for _ in range(3):
        serving.retire(CANCER, A)
        wall.at += 60
        serving.finish_retiring()
    assert serving.placed(CANCER) == [A]
    routed.clear()
    serving.retire(CANCER, A)
    routed.add(A)
    wall.at += 60
    serving.finish_retiring()
    assert serving.placed(CANCER) == [A], "routed again while it was being drained"


def test_a_model_is_awaited_and_its_readiness_seen_at_once(
    cluster: Cluster, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = in_cluster(cluster, wall)
    with pytest.raises(RoutingUnavailable, match="no Deployment"):
        serving.await_ready(CANCER, A)
    cluster.api.pods_ready = False
    serving.place(CANCER, A)
    monkeypatch.setattr(backend, "READY_SECONDS", 0.1)
    with pytest.raises(RoutingUnavailable, match="minimum availability"):
        serving.await_ready(CANCER, A)
    monkeypatch.setattr(backend, "READY_SECONDS", 20.0)
    threading.Timer(0.2, cluster.api.set_pods_ready, [True]).start()
    started = time.monotonic()
    serving.await_ready(CANCER, A)
    assert time.monotonic() - started < 10


def test_a_watch_that_expired_inside_its_stream_is_begun_anew(cluster: Cluster, wall: Wall) -> None:
    cluster.api.pods_ready = False
    serving = in_cluster(cluster, wall)
    serving.place(CANCER, A)
    path = cluster.names.deployment(workload(CANCER, A))
    cluster.api.forget_events()
    assert list(cluster.connection().watch(path, "1", 5)) == [], "410 ends it"
    threading.Timer(0.2, cluster.api.set_pods_ready, [True]).start()
    serving.await_ready(CANCER, A)


def test_another_image_is_rolled_out_once_and_no_pod_is_missed_meanwhile(cluster: Cluster, wall: Wall) -> None:
    in_cluster(cluster, wall).place(CANCER, A)
    path = cluster.names.deployment(workload(CANCER, A))
    before = cluster.api.objects[path]["metadata"]["generation"]
    in_cluster(cluster, wall).place(CANCER, A)
    assert cluster.api.objects[path]["metadata"]["generation"] == before
    newer = KubernetesServing(cluster.connection(), PodOptions("clinical:2"), lambda *_: False, cluster.names, wall)
    for _ in range(2):
        newer.place(CANCER, A)
    spec = cluster.api.objects[path]["spec"]
    assert spec["template"]["spec"]["containers"][0]["image"] == "clinical:2"
    assert cluster.api.objects[path]["metadata"]["generation"] == before + 1
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_a_model_that_is_being_drained_gets_no_route(
    cluster: Cluster, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "READY_SECONDS", 0.0)
    serving = in_cluster(cluster, wall)
    serving.place(CANCER, A)
    serving.await_ready(CANCER, A)
    serving.retire(CANCER, A)
    with pytest.raises(RoutingUnavailable, match="drained"):
        serving.await_ready(CANCER, A)


def test_without_the_api_or_without_rights_nothing_is_half_done(cluster: Cluster, wall: Wall) -> None:
    serving = in_cluster(cluster, wall)
    cluster.api.outage = "refuse"
    for act in (lambda: serving.place(CANCER, A), lambda: serving.placed(CANCER), serving.finish_retiring):
        with pytest.raises(RoutingUnavailable):
            act()
    cluster.api.outage = ""
    rules = cluster.api.rules
    cluster.api.rules = {
        token: [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "create"]} for rule in held]
        for token, held in rules.items()
    }
    with pytest.raises(RouteRejected, match=r"403.*rbac\.yaml"):
        serving.place(CANCER, A)
    cluster.api.rules = rules
    serving.place(CANCER, A)
    assert held(cluster, A) == {"deployments", "services", "poddisruptionbudgets"}


def test_pods_meet_the_restricted_pod_security_standard(cluster: Cluster) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, level `restricted`."""
    pod = manifests.deployment(cluster.names, CANCER, A, PodOptions("clinical:1"))["spec"]["template"]["spec"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert all({"persistentVolumeClaim", "secret", "emptyDir"} & volume.keys() for volume in pod["volumes"])
    for container in pod["containers"]:
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]})
        assert context["readOnlyRootFilesystem"] is True
        assert not any("hostPort" in port for port in container["ports"])
    assert pod["automountServiceAccountToken"] is False, "a model server has no business with the API"


def test_a_pod_is_ready_when_it_holds_this_very_digest_and_outlives_its_last_request(cluster: Cluster) -> None:
    document = manifests.deployment(cluster.names, CANCER, A, PodOptions("clinical:1"))
    container = document["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == f"/v2/models/{CANCER}/versions/{A}/ready"
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] > 10, "longer than the route's timeout"
    grace = document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert (
        document["spec"]["selector"]["matchLabels"].items()
        <= document["spec"]["template"]["metadata"]["labels"].items()
    )
    assert "replicas" not in manifests.deployment(cluster.names, CANCER, A, PodOptions("x", max_replicas=5))["spec"]
