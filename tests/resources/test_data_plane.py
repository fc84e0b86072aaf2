"""One setting chooses the data plane; secrets come from the environment at run time only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from clinical_assets.foundation.database import engine_for
from clinical_assets.rollout.routing import NoData
from clinical_assets.rollout.routing import TrafficRouter as TrafficRouterPort
from clinical_assets.serving.istio import router as router_module
from resources.cluster import ClusterServing, IstioTrafficRouter, PrometheusTelemetry
from resources.data_plane import DeploymentError, ServingBackend, Telemetry, TrafficRouter, data_plane
from resources.ledger_store import LedgerStore
from resources.signer import Signer
from tests.kubernetes_double.api import ApiDouble
from tests.kubernetes_double.cluster import PLATFORM, Cluster
from tests.kubernetes_double.server import ApiServer


def test_the_default_is_envoy_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLINICAL_DEPLOYMENT", raising=False)
    plane = data_plane(LedgerStore(signer=Signer()))
    assert (type(plane["traffic_router"]), type(plane["telemetry"])) == (TrafficRouter, Telemetry)


def test_kubernetes_is_one_setting_away_and_no_secret_is_in_the_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_DEPLOYMENT", "kubernetes")
    monkeypatch.setenv("CLINICAL_PROMETHEUS_TOKEN", "s3cret")
    plane = data_plane(LedgerStore(signer=Signer()))
    assert isinstance(plane["traffic_router"], IstioTrafficRouter)
    assert isinstance(plane["telemetry"], PrometheusTelemetry)
    assert isinstance(plane["serving_backend"], ClusterServing)
    assert "s3cret" not in repr(plane)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """An API, and the KUBECONFIG of the platform's service account."""
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("CLINICAL_DEPLOYMENT", "kubernetes")
    server = ApiServer(ApiDouble())
    configuration = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "platform"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "platform", "user": {"token": PLATFORM}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(configuration))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield Cluster(server, engine_for(f"sqlite:///{tmp_path / 'other.db'}"))
    server.stop()


def test_outside_dagster_the_variables_are_read_and_the_cluster_is_reached(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "CONFIRM_SECONDS", 0.0)
    store = LedgerStore(signer=Signer())
    plane = data_plane(store)
    with pytest.raises(DeploymentError, match="CLINICAL_MODEL_SERVER_IMAGE"):
        plane["serving_backend"].desired_state()
    monkeypatch.setenv("CLINICAL_MODEL_SERVER_IMAGE", "registry.hospital/clinical:7")
    monkeypatch.setenv("CLINICAL_PROMETHEUS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CLINICAL_PROMETHEUS_TOKEN", "s3cret")
    serving = plane["serving_backend"].desired_state()
    serving.place("colon", "a" * 64)
    serving.await_ready("colon", "a" * 64)
    made = next(found for path, found in cluster.api.objects.items() if "/deployments/" in path)
    assert made["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.hospital/clinical:7"
    router = plane["traffic_router"].router()
    assert isinstance(router, TrafficRouterPort)
    assert not router.recreate
    monkeypatch.setenv("CLINICAL_RECREATE_ROUTES", "true")
    assert plane["traffic_router"].router().recreate
    assert router.last_writer("colon") == "kubectl-client-side-apply"
    source = plane["telemetry"].source()
    assert source.prometheus.token == "s3cret"
    assert isinstance(source.counts("colon"), NoData)


def test_dagster_reads_the_variables_of_nested_resources_in_a_run(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINICAL_MODEL_SERVER_IMAGE", "clinical:7")
    monkeypatch.setenv("CLINICAL_PROMETHEUS_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("CLINICAL_PROMETHEUS_TOKEN", "s3cret")
    seen: list[str] = []

    @dg.asset
    def looking(telemetry: Telemetry, serving_backend: ServingBackend) -> None:
        seen.append(telemetry.source().prometheus.token)
        serving_backend.desired_state().place("colon", "a" * 64)

    plane = data_plane(LedgerStore(signer=Signer()))
    assert dg.materialize([looking], resources=plane).success
    assert seen == ["s3cret"]
    assert any("/deployments/" in path for path in cluster.api.objects)


def test_an_unknown_deployment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_DEPLOYMENT", "swarm")
    with pytest.raises(DeploymentError, match=r"swarm.*local, kubernetes"):
        data_plane(LedgerStore(signer=Signer()))
