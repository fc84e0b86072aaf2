"""What istiod 1.31 makes of the objects: Envoy clusters and routes, with the rules that were measured on it.

Weights are relative; a lone destination gets everything; a destination of weight 0 vanishes; a route to an unknown
subset is accepted (and answers 503 in Envoy); an EnvoyFilter merges as protocol buffers do, so that one member of a
`oneof` replaces another.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from clinical_assets.serving.kubernetes.names import Names

Document = dict[str, Any]
ONE_OF = ("cluster", "weighted_clusters", "cluster_header")


def route_configuration(objects: dict[str, Document], names: Names) -> Document:
    """The gateway's RouteConfiguration."""
    service = objects.get(names.virtual_service)
    rule = objects.get(names.destination_rule)
    header = ""
    if rule is not None:
        balancer = rule["spec"].get("trafficPolicy", {}).get("loadBalancer", {})
        header = balancer.get("consistentHash", {}).get("httpHeaderName", "")
    routes = [route for entry in (service or {"spec": {}})["spec"].get("http", []) for route in _routes(entry, header)]
    for patch in objects.get(names.envoy_filter, {"spec": {}})["spec"].get("configPatches", []):
        wanted = patch["match"]["routeConfiguration"]["vhost"]["route"]["name"]
        for route in routes:
            if route.get("name") == wanted:
                _merge(route, patch["patch"]["value"])
    host = {"name": "*:80", "domains": ["*"], "routes": routes}
    return {"name": "http.80", "virtual_hosts": [host] if service else []}


@dataclass(frozen=True)
class Endpoints:
    """Pods of one cluster: those with `labels`; of them, those that also have the label `first` before the others."""

    labels: dict[str, str]
    first: tuple[str, str] | None
    ejection: Document

    def priority(self, pod: dict[str, str]) -> int | None:
        """0 or 1, `None` for a pod that is none of them."""
        if any(pod.get(key) != value for key, value in self.labels.items()):
            return None
        return 0 if self.first is None or pod.get(self.first[0]) == self.first[1] else 1


def clusters(objects: dict[str, Document], names: Names, ports: tuple[int, ...]) -> dict[str, Endpoints]:
    """Endpoints by cluster name. A priority of endpoints (`failoverPriority`) holds only with outlier detection."""
    rule = objects.get(names.destination_rule)
    if rule is None:
        return {}
    found = {}
    for entry in rule["spec"].get("subsets", []):
        policy = {**rule["spec"].get("trafficPolicy", {}), **entry.get("trafficPolicy", {})}
        ejection = policy.get("outlierDetection", {})
        locality = policy.get("loadBalancer", {}).get("localityLbSetting", {})
        wanted = [label.split("=", 1) for label in locality.get("failoverPriority", []) if ejection]
        first = (wanted[0][0], wanted[0][1]) if wanted else None
        for port in ports:
            found[names.cluster(entry["name"], port)] = Endpoints(entry["labels"], first, ejection)
    return found


def _routes(entry: Document, header: str) -> list[Document]:
    found = []
    for match in entry.get("match") or [{"uri": {"prefix": "/"}}]:
        uri = match.get("uri", {"prefix": "/"})
        translated: Document = {"path": uri["exact"]} if "exact" in uri else {"prefix": uri["prefix"]}
        if headers := match.get("headers"):
            translated["headers"] = [{"name": k, "string_match": {"exact": v["exact"]}} for k, v in headers.items()]
        route: Document = {"name": entry.get("name", ""), "match": translated, **_headers(entry)}
        if "directResponse" in entry:
            body = entry["directResponse"].get("body", {}).get("string", "")
            route["direct_response"] = {"status": entry["directResponse"]["status"], "body": {"inline_string": body}}
        else:
            route["route"] = _action(entry, header, route)
        found.append(route)
    return found


def _action(entry: Document, header: str, route: Document) -> Document:
    action: Document = {}
    destinations = entry["route"]
    if len(destinations) == 1:
        action["cluster"] = _cluster(destinations[0]["destination"])
        inner = _headers(destinations[0])
        for key, value in inner.items():
            route[key] = [*route.get(key, []), *value]
    else:
        weighted = [
            {"name": _cluster(d["destination"]), "weight": d["weight"], **_headers(d)}
            for d in destinations
            if d.get("weight", 0) > 0
        ]
        action["weighted_clusters"] = {"clusters": weighted}
    if header:
        action["hash_policy"] = [
            {"header": {"header_name": header}}
            for d in destinations
            if len(destinations) == 1 or d.get("weight", 0) > 0
        ]
    mirrors = [
        {
            "cluster": _cluster(mirror["destination"]),
            "runtime_fraction": {"default_value": {"numerator": mirror.get("percentage", {}).get("value", 100)}},
            "disable_shadow_host_suffix_append": True,
        }
        for mirror in entry.get("mirrors", [])
    ]
    if mirrors:
        action["request_mirror_policies"] = mirrors
    action["timeout"] = entry.get("timeout", "0s")
    if retries := entry.get("retries"):
        on = retries["retryOn"].split(",")
        policy: Document = {"retry_on": ",".join([w for w in on if not w.isdigit()] + ["retriable-status-codes"])}
        policy["retriable_status_codes"] = [int(word) for word in on if word.isdigit()]
        policy["num_retries"], policy["per_try_timeout"] = retries["attempts"], retries["perTryTimeout"]
        if retries.get("retryRemoteLocalities"):
            policy["retry_priority"] = _other_priorities()
        action["retry_policy"] = policy
    return action


def _other_priorities() -> Document:
    """After two attempts the next priority of endpoints is tried."""
    kind = "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    config = {"@type": kind, "update_frequency": 2}
    return {"name": "envoy.retry_priorities.previous_priorities", "typed_config": config}


def _headers(entry: Document) -> Document:
    request = entry.get("headers", {}).get("request", {})
    found: Document = {}
    if request.get("set"):
        found["request_headers_to_add"] = [
            {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
            for key, value in request["set"].items()
        ]
    if request.get("remove"):
        found["request_headers_to_remove"] = list(request["remove"])
    return found


def _cluster(destination: Document) -> str:
    return f"outbound|{destination['port']['number']}|{destination.get('subset', '')}|{destination['host']}"


def _merge(into: Document, patch: Document) -> None:
    for key, value in copy.deepcopy(patch).items():
        if key in ONE_OF:
            for other in ONE_OF:
                if other != key:
                    into.pop(other, None)
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
