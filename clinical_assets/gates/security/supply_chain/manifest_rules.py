"""Rules for Kubernetes manifests: pods that could do little harm if somebody took them over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
_INJECTED = "sidecar.istio.io/inject"
"""With this label `image: auto` is the place that Istio's injector fills with the proxy of its own release."""

_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")


def breaches(documents: Iterable[Any]) -> list[tuple[str, str]]:
    """(object, rule) for every rule that an object of the rendered manifests breaks.

    Whatever holds a pod's containers counts as a workload, so that custom kinds with a pod template are judged too.
    """
    objects = list(_objects(documents))
    accounts = [one for one in objects if one.get("kind") == "ServiceAccount"]
    tokenless = {_key(one, _name(one)) for one in accounts if one.get("automountServiceAccountToken") is False}
    policies = [one for one in objects if one.get("kind") == "NetworkPolicy"]
    found = []
    for one in objects:
        for pod, labels in _pods(one, _labels(one)):
            who = f"{one.get('kind', '?')}/{_name(one)}"
            rules = [*_pod_rules(pod), *(rule for kind in _CONTAINERS for part in pod.get(kind) or []
                                         for rule in _container_rules(part, pod, labels))]  # fmt: skip
            account = _key(one, pod.get("serviceAccountName", "default"))
            if pod.get("automountServiceAccountToken") is not False and not (
                account in tokenless and "automountServiceAccountToken" not in pod
            ):
                rules.append("mounts a service account token: automountServiceAccountToken: false, and project one "
                             "where the API is called")  # fmt: skip
            if not any(_selects(policy, one, labels) for policy in policies):
                rules.append("no NetworkPolicy selects it")
            found += [(who, rule) for rule in rules]
    return found


def _pod_rules(pod: Mapping[str, Any]) -> Iterator[str]:
    for name in HOST_NAMESPACES:
        if pod.get(name):
            yield f"{name} is on"
    for volume in pod.get("volumes") or []:
        if "hostPath" in volume:
            yield f"volume {volume.get('name', '?')} is a hostPath"


def _container_rules(container: Mapping[str, Any], pod: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    name = container.get("name", "?")
    own, shared = container.get("securityContext") or {}, pod.get("securityContext") or {}
    if own.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True or own.get("runAsUser", 1) == 0:
        yield f"container {name}: runAsNonRoot is not true"
    if own.get("readOnlyRootFilesystem") is not True:
        yield f"container {name}: readOnlyRootFilesystem is not true"
    if "ALL" not in ((own.get("capabilities") or {}).get("drop") or []):
        yield f"container {name}: capabilities are not dropped (drop: [ALL])"
    if own.get("privileged"):
        yield f"container {name}: privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"container {name}: allowPrivilegeEscalation is not false"
    limits = (container.get("resources") or {}).get("limits") or {}
    if "memory" not in limits or "cpu" not in limits:
        yield f"container {name}: no limits for cpu and memory"
    image = str(container.get("image", ""))
    tag = image.rsplit("/", 1)[-1]
    placeholder = image == "auto" and labels.get(_INJECTED) == "true"
    if not placeholder and "@sha256:" not in image and (":" not in tag or tag.endswith(":latest")):
        yield f"container {name}: image {image or '?'} is `latest`"


def _pods(node: Any, labels: Mapping[str, str]) -> Iterator[tuple[dict[str, Any], Mapping[str, str]]]:
    """Pod specifications inside an object, with the labels of their template."""
    if isinstance(node, list):
        for item in node:
            yield from _pods(item, labels)
    elif isinstance(node, dict):
        labels = _labels(node) or labels
        containers = node.get("containers")
        if isinstance(containers, list) and any(isinstance(one, dict) and "image" in one for one in containers):
            yield node, labels
            return
        for item in node.values():
            yield from _pods(item, labels)


def _selects(policy: Mapping[str, Any], one: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Same namespace and labels that match; expressions of the selector are taken to match what they can."""
    selector = (policy.get("spec") or {}).get("podSelector") or {}
    wanted = selector.get("matchLabels") or {}
    same = _key(policy, "") == _key(one, "")
    return same and all(labels.get(name) == value for name, value in wanted.items())


def _objects(documents: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for document in documents:
        if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
            yield from _objects(document["items"] or [])
        elif isinstance(document, dict) and document:
            yield document


def _labels(one: Mapping[str, Any]) -> Mapping[str, str]:
    metadata = one.get("metadata")
    return (metadata.get("labels") or {}) if isinstance(metadata, dict) else {}


def _name(one: Mapping[str, Any]) -> str:
    return str((one.get("metadata") or {}).get("name", "?"))


def _key(one: Mapping[str, Any], name: str) -> tuple[str, str]:
    return str((one.get("metadata") or {}).get("namespace", "default")), name
