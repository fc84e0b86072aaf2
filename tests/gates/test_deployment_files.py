"""SE10 and SE11: container files and manifests, each rule broken once."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.security import gate as security
from clinical_assets.gates.security.supply_chain import container_rules, manifest_rules
from clinical_assets.gates.security.supply_chain.environment import collect
from clinical_assets.gates.verdict import CheckResult, Verdict

from .cohorts import POLICY, environment, found, release

BASE = "python:3.11-slim@sha256:" + "a" * 64
GOOD = f"""# syntax=docker/dockerfile:1
FROM {BASE} AS build
RUN pip install --require-hashes \\
    -r requirements.lock
FROM {BASE}
COPY --from=build /venv /venv
USER 10001:10001
"""


class TestContainerFiles:
    def test_a_good_one_keeps_every_rule(self):
        assert container_rules.breaches(GOOD) == []

    @pytest.mark.parametrize(
        ("change", "rule"),
        [
            (("USER 10001:10001\n", ""), "root"),
            (("USER 10001:10001", "USER root"), "root"),
            (("USER 10001:10001", "USER 0:0"), "root"),
            (("USER 10001:10001", "USER 10001\nUSER 0"), "root"),
            ((f"FROM {BASE}\nCOPY", "FROM python:3.11-slim\nCOPY"), "not pinned by digest"),
            ((f"FROM {BASE}\nCOPY", "FROM python:latest\nCOPY"), "`latest`"),
            ((f"FROM {BASE}\nCOPY", "FROM python\nCOPY"), "`latest`"),
            ((f"FROM {BASE}\nCOPY", "FROM ${BASE_IMAGE}\nCOPY"), "not pinned by digest"),
            (("COPY --from=build /venv /venv", "ADD https://elsewhere.example/x /x"), "ADD from a URL"),
            (("COPY --from=build /venv /venv", 'ADD --chown=1:1 ["https://elsewhere.example/x", "/x"]'), "ADD from"),
            ((GOOD, "hello"), "no FROM"),
        ],
    )
    def test_each_rule(self, change, rule):
        assert any(rule in breach for breach in container_rules.breaches(GOOD.replace(*change)))

    def test_a_user_is_inherited_from_an_earlier_stage(self):
        assert container_rules.breaches(f"FROM {BASE} AS base\nUSER 10001\nFROM base\nRUN true\n") == []

    def test_what_stands_in_a_comment_or_a_here_document_is_no_instruction(self):
        text = GOOD.replace("USER", "# ADD https://elsewhere.example/x /x\nRUN <<EOF\nUSER root\nEOF\nUSER")
        assert container_rules.breaches(text) == []


POD: dict[str, Any] = {
    "automountServiceAccountToken": False,
    "securityContext": {"runAsNonRoot": True},
    "containers": [
        {
            "name": "server",
            "image": "registry.example/server@sha256:" + "b" * 64,
            "securityContext": {
                "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
            },
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
        }
    ],
}  # fmt: skip
POLICY_OBJECT = {
    "kind": "NetworkPolicy", "metadata": {"name": "server", "namespace": "trials"},
    "spec": {"podSelector": {"matchLabels": {"app": "server"}}},
}  # fmt: skip


def deployment(pod: dict[str, Any], kind: str = "Deployment") -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "server"}}, "spec": pod}
    return {"kind": kind, "metadata": {"name": "server", "namespace": "trials"}, "spec": {"template": template}}


def changed(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> list[dict[str, Any]]:
    pod = copy.deepcopy(POD)
    change(pod, pod["containers"][0])
    return [deployment(pod), POLICY_OBJECT]


BREACHES: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "runAsNonRoot": lambda pod, one: pod.pop("securityContext"),
    "runAsNonRoot is not": lambda pod, one: one["securityContext"].update(runAsUser=0),
    "readOnlyRootFilesystem": lambda pod, one: one["securityContext"].pop("readOnlyRootFilesystem"),
    "capabilities": lambda pod, one: one["securityContext"].update(capabilities={"drop": ["NET_RAW"]}),
    "privileged": lambda pod, one: one["securityContext"].update(privileged=True),
    "allowPrivilegeEscalation": lambda pod, one: one["securityContext"].pop("allowPrivilegeEscalation"),
    "no limits": lambda pod, one: one["resources"]["limits"].pop("memory"),
    "`latest`": lambda pod, one: one.update(image="registry.example:5000/server"),
    "hostPath": lambda pod, one: pod.update(volumes=[{"name": "host", "hostPath": {"path": "/"}}]),
    "hostNetwork": lambda pod, one: pod.update(hostNetwork=True),
    "service account token": lambda pod, one: pod.pop("automountServiceAccountToken"),
    "container init": lambda pod, one: pod.update(initContainers=[{"name": "init", "image": "x:1"}]),
}


class TestManifests:
    @pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "Rollout"])
    def test_a_good_one_keeps_every_rule(self, kind):
        assert manifest_rules.breaches([deployment(POD, kind), POLICY_OBJECT, None]) == []

    @pytest.mark.parametrize("rule", BREACHES)
    def test_each_rule(self, rule):
        assert any(rule in breach for _, breach in manifest_rules.breaches(changed(BREACHES[rule])))

    def test_the_place_of_an_injected_proxy_has_no_version_of_its_own(self):
        pod = copy.deepcopy(POD)
        pod["containers"][0]["image"] = "auto"
        plain, injected = deployment(pod), deployment(pod)
        injected["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"] = "true"
        assert [rule for _, rule in manifest_rules.breaches([plain, POLICY_OBJECT])] != []
        assert manifest_rules.breaches([injected, POLICY_OBJECT]) == []

    def test_nested_pods_and_lists_are_found(self):
        job = {
            "kind": "CronJob",
            "metadata": {"name": "j"},
            "spec": {"jobTemplate": {"spec": deployment({**POD})["spec"]}},
        }
        places = {place for place, _ in manifest_rules.breaches([{"kind": "List", "items": [job]}])}
        assert places == {"CronJob/j"}

    @pytest.mark.parametrize("field", ["labels", "namespace"])
    def test_a_network_policy_that_selects_others_does_not_count(self, field):
        other = copy.deepcopy(POLICY_OBJECT)
        if field == "labels":
            other["spec"]["podSelector"]["matchLabels"] = {"app": "other"}
        else:
            other["metadata"]["namespace"] = "elsewhere"
        assert [rule for _, rule in manifest_rules.breaches([deployment(POD), other])] == [
            "no NetworkPolicy selects it"
        ]

    def test_an_account_that_gives_no_token_is_enough(self):
        pod = {**POD, "serviceAccountName": "quiet"}
        del pod["automountServiceAccountToken"]
        account = {"kind": "ServiceAccount", "metadata": {"name": "quiet", "namespace": "trials"},
                   "automountServiceAccountToken": False}  # fmt: skip
        assert manifest_rules.breaches([deployment(pod), POLICY_OBJECT, account]) == []


def test_the_platforms_own_manifests_keep_every_rule():
    assert environment().manifests.breaches == ()
    assert environment().containers.breaches == ()


def judged(root: Path, id: str, policy: GatePolicy = POLICY) -> CheckResult:
    (root / "configs").mkdir(exist_ok=True)
    environment = collect(policy.security, root, root / "configs", root / "store", root / "none.json")
    return found(security.judge(replace(release("colon"), environment=environment), policy), id)


def test_without_files_it_does_not_apply_and_says_so(tmp_path):
    for id, words in (("SE10", "no container files declared"), ("SE11", "no manifests declared")):
        result = judged(tmp_path, id)
        assert (result.verdict, result.value) == (Verdict.PASS, None)
        assert words in result.reason


def test_files_are_found_judged_and_judged_again_when_they_change(tmp_path):
    for file, good, bad, id in (
        (tmp_path / "deploy" / "images" / "Dockerfile", GOOD, GOOD.replace("USER", "# USER"), "SE10"),
        (
            tmp_path / "deploy" / "kubernetes" / "base" / "server.yaml",
            yaml.safe_dump_all([deployment(POD), POLICY_OBJECT]),
            yaml.safe_dump_all(changed(BREACHES["privileged"])),
            "SE11",
        ),
    ):
        file.parent.mkdir(parents=True)
        file.write_text(good)
        assert judged(tmp_path, id).verdict is Verdict.PASS
        file.write_text(bad)
        assert judged(tmp_path, id).verdict is Verdict.BLOCK


def test_a_template_that_is_not_rendered_is_inconclusive(tmp_path):
    (tmp_path / "deploy" / "kubernetes").mkdir(parents=True)
    (tmp_path / "deploy" / "kubernetes" / "chart.yaml").write_text("{{- if .Values.on }}\nkind: Pod\n{{- end }}")
    assert judged(tmp_path, "SE11").verdict is Verdict.INCONCLUSIVE
