"""What the three overlays install: accepted by the API's schemas, whole, and with no more rights than needed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from clinical_assets.gates.security.supply_chain import manifest_rules
from clinical_assets.serving.istio.routes import require_whole_shares
from clinical_assets.serving.kubernetes import manifests
from clinical_assets.serving.kubernetes.manifests import PodOptions
from clinical_assets.serving.kubernetes.names import Names
from tests.deployment.rendering import (
    OVERLAYS,
    ROOT,
    Document,
    labels_of,
    named,
    of_kind,
    overlay,
    pod_of,
    rendered,
)

RELEASE = "1.36"
CLUSTER_SCOPED = {"Namespace", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
MADE_ELSEWHERE = {"kube-root-ca.crt"}
"""In every namespace, by Kubernetes itself."""
OPTIONAL = {"clinical-prometheus"}


@pytest.fixture(params=OVERLAYS)
def documents(request: pytest.FixtureRequest) -> list[Document]:
    return overlay(request.param)


def group(document: Document) -> str:
    return document["apiVersion"].partition("/")[0] if "/" in document["apiVersion"] else ""


def workloads(documents: list[Document]) -> list[Document]:
    return of_kind(documents, "Deployment", "StatefulSet", "Job")


def every(node: Any, key: str) -> Iterator[Any]:
    """The values of `key` anywhere inside."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from every(value, key)
    elif isinstance(node, list):
        for item in node:
            yield from every(item, key)


def model_objects() -> list[Document]:
    """What the platform makes at run time for one model."""
    options, names = PodOptions("clinical-assets-serving:1", max_replicas=6), Names()
    made = [
        manifests.deployment(names, "colon", "a" * 64, options),
        manifests.service(names, "colon", "a" * 64),
        manifests.disruption_budget(names, "colon", "a" * 64),
        manifests.autoscaler(names, "colon", "a" * 64, options),
    ]
    return [document for document in made if document is not None]


def distinct(chosen: Callable[[str], bool]) -> list[Document]:
    """The different objects of all overlays whose API group is chosen."""
    found = [document for name in OVERLAYS for document in overlay(name)] + model_objects()
    return [json.loads(text) for text in sorted({json.dumps(one) for one in found if chosen(group(one))})]


def test_every_kubernetes_object_fits_the_schema_of_the_api() -> None:
    for document in distinct(lambda name: not name.endswith(("istio.io", "external-secrets.io"))):
        kubernetes_validate.validate(document, RELEASE, strict=True)


def test_every_istio_object_fits_its_schema_and_no_field_is_unknown() -> None:
    schemas = json.loads((Path(__file__).parent / "istio_schemas.json").read_text())
    judged = distinct(lambda name: name.endswith("istio.io"))
    assert {"AuthorizationPolicy", "VirtualService", "EnvoyFilter", "Telemetry"} <= {d["kind"] for d in judged}
    for document in judged:
        jsonschema.validate(document["spec"], schemas[document["kind"]])
    misspelt = {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "b"}, "wieght": 5}]}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(misspelt, schemas["VirtualService"])


def test_a_local_cluster_needs_no_custom_kind_but_those_of_istio() -> None:
    built_in = {"", "apps", "batch", "policy", "autoscaling"}
    groups = {group(document) for document in overlay("local-cluster")} - built_in
    assert all(name.endswith((".istio.io", ".k8s.io")) for name in groups), groups


def test_our_own_rules_for_manifests_are_kept(documents: list[Document]) -> None:
    assert manifest_rules.breaches([*documents, *model_objects()]) == []


def test_what_belongs_to_a_namespace_is_in_ours_and_nothing_else_has_one(documents: list[Document]) -> None:
    for document in documents:
        expected = None if document["kind"] in CLUSTER_SCOPED else "clinical"
        assert document["metadata"].get("namespace") == expected, document["metadata"]


def test_no_two_objects_have_the_same_name(documents: list[Document]) -> None:
    keys = [(group(document), document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(keys) == len(set(keys))


def test_everything_that_a_pod_names_is_installed(documents: list[Document]) -> None:
    installed = {(kind, document["metadata"]["name"]) for document in documents for kind in [document["kind"]]}
    secrets = {name for kind, name in installed if kind in ("Secret", "ExternalSecret")}
    maps = {name for kind, name in installed if kind == "ConfigMap"} | MADE_ELSEWHERE
    for workload in [*workloads(documents), *of_kind(model_objects(), "Deployment")]:
        pod = pod_of(workload)
        account = pod.get("serviceAccountName", "default")
        assert account == "default" or ("ServiceAccount", account) in installed, account
        named_secrets = {one["name"] for one in every(pod, "secretRef")} | set(every(pod, "secretName"))
        assert named_secrets - OPTIONAL <= secrets, workload["metadata"]["name"]
        named_maps = {
            one["name"] for key in ("configMapRef", "configMapKeyRef", "configMap") for one in every(pod, key)
        }
        assert named_maps <= maps, workload["metadata"]["name"]


def test_every_service_and_policy_finds_pods(documents: list[Document]) -> None:
    labels = [labels_of(workload) for workload in [*workloads(documents), *of_kind(model_objects(), "Deployment")]]
    for document in of_kind(documents, "Service", "PodDisruptionBudget", "AuthorizationPolicy", "NetworkPolicy"):
        spec = document["spec"]
        selector = spec.get("podSelector", spec.get("selector")) or {}
        wanted = selector if document["kind"] == "Service" else selector.get("matchLabels", {})
        assert any(wanted.items() <= held.items() for held in labels), document["metadata"]["name"]


def test_every_identity_that_a_policy_names_belongs_to_an_account(documents: list[Document]) -> None:
    accounts = {document["metadata"]["name"] for document in of_kind(documents, "ServiceAccount")}
    principals = {
        one for document in documents for listed in every(document.get("spec"), "principals") for one in listed
    }
    assert principals
    assert principals <= {f"cluster.local/ns/clinical/sa/{account}" for account in accounts}


def test_only_the_login_proxy_reaches_the_webserver(documents: list[Document]) -> None:
    login = labels_of(named(documents, "Deployment", "clinical-login"))
    policy = named(documents, "NetworkPolicy", "clinical-webserver")["spec"]
    webserver = labels_of(named(documents, "Deployment", "clinical-webserver"))
    reached = [
        found["metadata"]["name"]
        for found in of_kind(documents, "NetworkPolicy")
        if "Ingress" in found["spec"]["policyTypes"]
        and found["spec"]["podSelector"].get("matchLabels", {}).items() <= webserver.items()
        and not found["spec"]["podSelector"].get("matchExpressions")
        and any(3000 in [port.get("port") for port in rule.get("ports", [{"port": 3000}])]
                for rule in found["spec"].get("ingress", []))
    ]  # fmt: skip
    assert reached == ["clinical-webserver"]
    assert [source["podSelector"]["matchLabels"].items() <= login.items() for source in policy["ingress"][0]["from"]]
    mesh = named(documents, "AuthorizationPolicy", "clinical-webserver")["spec"]["rules"]
    assert list(every(mesh, "principals")) == [["cluster.local/ns/clinical/sa/clinical-login"]]


def test_nothing_is_reached_that_no_policy_opens(documents: list[Document]) -> None:
    denied = named(documents, "NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert named(documents, "AuthorizationPolicy", "deny-by-default")["spec"] == {}
    assert named(documents, "PeerAuthentication", "default")["spec"] == {"mtls": {"mode": "STRICT"}}


def test_no_role_is_wider_than_its_namespace_or_has_a_wildcard(documents: list[Document]) -> None:
    assert not of_kind(documents, "ClusterRole", "ClusterRoleBinding")
    for role in of_kind(documents, "Role"):
        for rule in role["rules"]:
            assert "*" not in {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
            assert not {"escalate", "bind", "impersonate"} & {*rule["verbs"]}
            if "secrets" in rule["resources"]:
                assert role["metadata"]["name"] == "clinical-first-start"
                assert rule["resourceNames"]
                assert rule["verbs"] == ["get", "patch"]


def test_only_those_who_call_the_api_hold_a_token(documents: list[Document]) -> None:
    bound = {subject["name"] for binding in of_kind(documents, "RoleBinding") for subject in binding["subjects"]}
    for workload in workloads(documents):
        pod = pod_of(workload)
        account = pod.get("serviceAccountName", "default")
        assert bool(list(every(pod, "serviceAccountToken"))) == (account in bound), workload["metadata"]["name"]


def test_no_secret_is_in_a_file(documents: list[Document]) -> None:
    for secret in of_kind(documents, "Secret"):
        assert "data" not in secret
        assert "stringData" not in secret


def test_servers_are_probed_and_survive_a_node_that_is_emptied(documents: list[Document]) -> None:
    budgets = [found["spec"]["selector"]["matchLabels"] for found in of_kind(documents, "PodDisruptionBudget")]
    for workload in of_kind([*documents, *model_objects()], "Deployment"):
        name, labels = workload["metadata"]["name"], labels_of(workload)
        container = pod_of(workload)["containers"][0]
        if name != "clinical-gateway":  # the injected proxy brings its own
            assert "livenessProbe" in container, name
        if workload["spec"].get("replicas", 2) > 1 and not name.startswith("model-"):
            assert any(chosen.items() <= labels.items() for chosen in budgets), name
            assert name == "clinical-gateway" or pod_of(workload)["topologySpreadConstraints"], name


def test_a_model_is_spread_scaled_and_protected() -> None:
    deployment, _, budget, autoscaler = model_objects()
    topologies = {rule["topologyKey"] for rule in pod_of(deployment)["topologySpreadConstraints"]}
    assert topologies == {"topology.kubernetes.io/zone", "kubernetes.io/hostname"}
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels_of(deployment).items()
    assert autoscaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"], "with an autoscaler the number is the autoscaler's"


def test_images_are_those_of_one_release(documents: list[Document]) -> None:
    ours = {
        image for image in every([pod_of(one) for one in workloads(documents)], "image") if "clinical-assets" in image
    }
    location = pod_of(named(documents, "Deployment", "clinical-code-location"))["containers"][0]
    settings = named(documents, "ConfigMap", "clinical-settings")["data"]
    assert ours == {location["image"]}
    assert {"name": "DAGSTER_CURRENT_IMAGE", "value": location["image"]} in location["env"], "runs use the same image"
    assert settings["CLINICAL_MODEL_SERVER_IMAGE"].replace("-serving", "") == location["image"]


def test_images_of_others_are_pinned_by_digest(documents: list[Document]) -> None:
    images = set(every([pod_of(workload) for workload in workloads(documents)], "image"))
    for image in images - {"auto"}:
        assert "clinical-assets" in image or "@sha256:" in image, image


def test_installed_weights_are_whole_shares(documents: list[Document]) -> None:
    http = named(documents, "VirtualService", "clinical-models")["spec"]["http"]
    require_whole_shares([entry for entry in http if "route" in entry])


@pytest.mark.parametrize("name", ["staging", "production"])
def test_outside_a_trial_cluster_callers_show_a_token_and_outcomes_need_a_role_of_their_own(name: str) -> None:
    documents = overlay(name)
    rules = named(documents, "AuthorizationPolicy", "clinical-gateway")["spec"]["rules"]
    assert all(rule["from"] == [{"source": {"requestPrincipals": ["*"]}}] for rule in rules)
    roles = {path: rule["when"][0]["values"] for rule in rules for paths in every(rule, "paths") for path in paths}
    assert roles["/v2/models/{*}/outcomes"] == ["outcomes"]
    assert roles["/v2/models/{*}/infer"] == ["predict"]
    server = named(documents, "Gateway", "clinical-gateway")["spec"]["servers"]
    assert [one["port"]["protocol"] for one in server] == ["HTTPS"]
    assert named(documents, "RequestAuthentication", "clinical-gateway")["spec"]["jwtRules"]


def with_component(directory: Path, component: str) -> list[Document]:
    shutil.copytree(ROOT / "deploy", directory / "deploy", ignore=shutil.ignore_patterns("secrets"))
    own = directory / "deploy" / "kubernetes" / "overlays" / "own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(f"resources: [../staging]\ncomponents: [../../components/{component}]\n")
    return rendered(own)


def test_the_component_for_large_fits_can_be_added(tmp_path: Path) -> None:
    documents = with_component(tmp_path, "train-jobs")
    assert of_kind(documents, "TrainingRuntime")
    assert manifest_rules.breaches(documents) == []


def test_an_upgrade_leaves_the_routes_of_open_rollouts_alone(tmp_path: Path) -> None:
    left = with_component(tmp_path, "keep-routes")
    gone = [one for one in overlay("staging") if one not in left]
    assert {one["metadata"]["name"] for one in gone} == {"clinical-models"}
    assert sorted(one["kind"] for one in gone) == ["DestinationRule", "EnvoyFilter", "VirtualService"]
