"""A route as entries of an Istio VirtualService, DestinationRule and EnvoyFilter: pure functions.

Measured on istiod 1.31:

* weights are relative and their sum is not checked, a lone destination gets everything whatever its weight, and a
  destination of weight 0 vanishes; so a split is written with two whole weights above 0, anything else as one lone
  destination without weight;
* `use_hash_policy`, without which a weighted split is drawn anew for every request, exists only in Envoy. The
  EnvoyFilter merges it into the weighted clusters of a split; into a lone destination it would merge an empty list of
  weighted clusters, which Envoy refuses. So a lone destination stands under another route name, out of its reach.

A weighted split alone answers 503 for the share of a dead variant. By Istio's documentation (`failoverPriority` of a
DestinationRule, `retryRemoteLocalities` of a VirtualService) endpoints with a given label are tried first, the others
of the subset when none of those is healthy, and a retry goes to the next group. So the challenger's share goes to a
subset of all pods of its cancer type, its own first: where they are gone the champion's answer in its place, and say
so. The champion's own subset holds its pods alone: nobody's failure gives the challenger a patient more.
"""

from __future__ import annotations

import copy
from typing import Any

from clinical_assets.rollout.routing import RouteState
from clinical_assets.serving import arms
from clinical_assets.serving.envoy.resources import copied, is_our_route, refusal, route_name
from clinical_assets.serving.kubernetes.names import (
    ANSWERS_PORT,
    CANCER_LABEL,
    COPIES_PORT,
    MODEL_LABEL,
    Names,
    fallback_subset,
    subset,
)

Entry = dict[str, Any]
SPLIT, WHOLE = "split", "whole"
RETRIES = {
    "attempts": 3,
    "perTryTimeout": "2.5s",
    "retryOn": "connect-failure,refused-stream,reset,503",
    "retryIgnorePreviousHosts": True,
    "retryRemoteLocalities": True,
}
SAME_POD = {"consistentHash": {"httpHeaderName": arms.PATIENT}}
EJECTION = {"consecutive5xxErrors": 5, "interval": "5s", "baseEjectionTime": "15s", "maxEjectionPercent": 50}
STICKY = {"route": {"weighted_clusters": {"use_hash_policy": True}}}


class WeightError(ValueError):
    """Weights that the platform never writes."""


def routes_for(route: RouteState, names: Names) -> list[Entry]:
    """Our entries of `spec.http`, most specific first: pins, the split, everything else of this cancer type."""
    path = f"/v2/models/{route.cancer}"
    infer = {"uri": {"exact": f"{path}/infer"}}
    entries = []
    if route.pinned and route.challenger is not None:
        for arm, digest in (("challenger", route.challenger), ("champion", route.champion)):
            match = {**infer, "headers": {arms.VARIANT: {"exact": arm}}}
            entries.append(_entry(route, f"pin-{arm}", [match], _lone(route, digest, arm, names), ""))
    kind = SPLIT if 0 < route.weight < 100 else WHOLE
    split = _entry(route, kind, [infer], _destinations(route, names), route.rollout_id)
    if route.mirror and route.challenger is not None:
        mirrored = copied(route.champion, route.challenger, route.weight)
        split["mirrors"] = [
            {"destination": _destination(route, digest, names, COPIES_PORT), "percentage": {"value": 100}}
            for digest in mirrored
        ]
    if route.refused:
        answer = refusal()
        body = {"string": answer["body"]["inline_string"]}
        for field in ("route", "retries", "timeout"):
            del split[field]
        split["directResponse"] = {"status": answer["status"], "body": body}
    entries.append(split)
    others = [{"uri": {"prefix": f"{path}/"}}, {"uri": {"exact": path}}]
    entries.append(_entry(route, "other", others, _lone(route, route.champion, "champion", names), ""))
    require_whole_shares(entries)
    return entries


def require_whole_shares(entries: list[Entry]) -> None:
    """The last guard before a write.

    Raises:
        WeightError: a weighted entry whose weights are not whole per cents above 0 with the sum 100, or a lone
            destination with a weight.
    """
    for entry in entries:
        if "directResponse" in entry and "route" not in entry:
            continue
        weights = [destination.get("weight") for destination in entry["route"]]
        lone = len(weights) == 1 and weights[0] is None
        whole = all(type(weight) is int and 0 < weight < 100 for weight in weights)
        if not lone and not (whole and sum(weights) == 100):
            raise WeightError(f"{entry['name']}: weights {weights} are not whole per cents that add up to 100")


def positions(cancer: str, http: list[Entry]) -> list[int]:
    """Where our entries stand."""
    return [index for index, entry in enumerate(http) if is_our_route(cancer, entry.get("name") or "")]


def subsets_for(route: RouteState) -> list[Entry]:
    """The subsets of the DestinationRule that the route refers to."""
    models = [
        {
            "name": subset(route.cancer, digest),
            "labels": {CANCER_LABEL: route.cancer, MODEL_LABEL: digest[:12]},
        }
        for digest in (route.champion, route.challenger)
        if digest is not None
    ]
    return [*models, _with_fallback(route.cancer, route.challenger)] if route.challenger else models


def _with_fallback(cancer: str, challenger: str) -> Entry:
    own_first = {"enabled": True, "failoverPriority": [f"{MODEL_LABEL}={challenger[:12]}"]}
    often = {"interval": "1s", "baseEjectionTime": "2s", "maxEjectionPercent": 100}  # there is the champion
    ejection = {**EJECTION, **often}
    policy = {"loadBalancer": {**SAME_POD, "localityLbSetting": own_first}, "outlierDetection": ejection}
    labels = {CANCER_LABEL: cancer}
    return copy.deepcopy({"name": fallback_subset(cancer, challenger), "labels": labels, "trafficPolicy": policy})


def sticky_patch(cancer: str) -> Entry:
    """The entry of the EnvoyFilter's `configPatches` that makes the split of one cancer type sticky."""
    vhost = {"route": {"name": route_name(cancer, SPLIT)}}
    match = {"context": "GATEWAY", "routeConfiguration": {"vhost": vhost}}
    return {"applyTo": "HTTP_ROUTE", "match": match, "patch": {"operation": "MERGE", "value": copy.deepcopy(STICKY)}}


def objects(names: Names, gateway: str, hosts: list[str]) -> dict[str, dict[str, Any]]:
    """The three objects as they are before the first rollout, by path; `deploy/kubernetes` installs the same.

    The entry answers paths that no model has; Istio refuses a VirtualService without entries. An EnvoyFilter reaches
    only proxies of its own namespace, so that the gateway runs beside the models.
    """
    metadata = {"name": names.routes, "namespace": names.namespace}
    unknown = {"name": "no-such-model", "directResponse": {"status": 404, "body": {"string": "no such model\n"}}}
    policy = copy.deepcopy({"loadBalancer": SAME_POD, "outlierDetection": EJECTION})
    return {
        names.destination_rule: {
            "apiVersion": "networking.istio.io/v1",
            "kind": "DestinationRule",
            "metadata": dict(metadata),
            "spec": {"host": names.host, "trafficPolicy": policy, "subsets": []},
        },
        names.envoy_filter: {
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": dict(metadata),
            "spec": {"workloadSelector": {"labels": {"istio": gateway}}, "configPatches": []},
        },
        names.virtual_service: {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": dict(metadata),
            "spec": {"hosts": hosts, "gateways": [gateway], "http": [unknown]},
        },
    }


def _destinations(route: RouteState, names: Names) -> list[Entry]:
    if route.challenger is None or route.weight == 0:
        return _lone(route, route.champion, "champion", names)
    [challenger] = _lone(route, route.challenger, "challenger", names)
    challenger["destination"]["subset"] = fallback_subset(route.cancer, route.challenger)
    if route.weight == 100:
        return [challenger]
    [champion] = _lone(route, route.champion, "champion", names)
    return [{**champion, "weight": 100 - route.weight}, {**challenger, "weight": route.weight}]


def _lone(route: RouteState, digest: str, arm: str, names: Names) -> list[Entry]:
    destination = _destination(route, digest, names, ANSWERS_PORT)
    return [{"destination": destination, "headers": {"request": {"set": {arms.ARM: arm}}}}]


def _destination(route: RouteState, digest: str, names: Names, port: int) -> Entry:
    return {"host": names.host, "subset": subset(route.cancer, digest), "port": {"number": port}}


def _entry(route: RouteState, kind: str, match: list[Entry], destinations: list[Entry], rollout_id: str) -> Entry:
    headers = {
        arms.CHAMPION: route.champion,
        arms.CHALLENGER: route.challenger or "",
        arms.WEIGHT: str(route.weight) if kind in (SPLIT, WHOLE) else "",
        arms.COPY_FOR: arms.ORIGINAL,
        arms.ROLLOUT: rollout_id,
    }
    absent = [name for name, value in headers.items() if not value]
    request: dict[str, Any] = {"set": {name: value for name, value in headers.items() if value}}
    return {
        "name": route_name(route.cancer, kind),
        "match": match,
        "headers": {"request": request | ({"remove": absent} if absent else {})},
        "route": destinations,
        "retries": dict(RETRIES),
        "timeout": "10s",
    }
