"""A route as Envoy clusters and routes: pure functions, the only place that knows their names.

Per model one cluster for answers and one for mirrored copies (same server, separate counters); for the challenger an
aggregate that falls over to the champion. The challenger's share is always written on the aggregate: a weighted split
alone answers 503 for the share of a dead variant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from clinical_assets.rollout.routing import RouteState
from clinical_assets.serving import arms
from clinical_assets.serving.ports import LOOPBACK

TYPES = "type.googleapis.com/envoy."
REQUEST_TIMEOUT = "10s"
ATTEMPT_TIMEOUT = "2.5s"
REFUSAL = "no prediction: both models of this cancer type fail; decide without one, and ask the people who run it"
_NO_RETRY_LIMIT = {"thresholds": [{"max_retries": 1024}]}
"""Envoy's own limit is 3 at a time: with more patients than that, a dead server would cost answers."""

AT_ONCE = {"update_merge_window": "0s"}
"""Envoy gathers changes of health for a second: a server ejected soon after its last trial would fail that long."""

EJECTION = {
    "consecutive_5xx": 5,
    "interval": "1s",
    "base_ejection_time": "2s",
    "max_ejection_time": "2s",
    "max_ejection_percent": 100,
    "successful_active_health_check_uneject_host": False,
    "split_external_local_origin_errors": True,
    "enforcing_consecutive_local_origin_failure": 0,
}
"""The challenger's server alone: after five answers without a score in a row the champion stands in for a while.

A server that fails to score is still ready, so that its health check must not end the ejection. It is tried again every
two seconds, and one that cannot be reached is left to its health check: a model that is out of sight at once would
gather no evidence for the rollback.
"""


def cluster_name(cancer: str, digest: str, suffix: str = "") -> str:
    return f"{cancer}-{digest[:12]}{suffix}"


def shadow_cluster(cancer: str, digest: str) -> str:
    return cluster_name(cancer, digest, "-shadow")


def fallback_cluster(cancer: str, digest: str) -> str:
    return cluster_name(cancer, digest, "-or-champion")


def copied(champion: str, challenger: str, weight: int) -> list[str]:
    """Models that get mirrored copies: the one that answers nobody, in a split both."""
    return [*([challenger] if weight < 100 else []), *([champion] if weight > 0 else [])]


def is_our_cluster(cancer: str, name: str) -> bool:
    return re.fullmatch(rf"{re.escape(cancer)}-[0-9a-f]{{12}}(-shadow|-or-champion)?", name) is not None


def route_name(cancer: str, kind: str) -> str:
    return f"clinical/{cancer}/{kind}"


def is_our_route(cancer: str, name: str) -> bool:
    return name.startswith(f"clinical/{cancer}/")


def cancer_of(route_name: str) -> str:
    """The cancer type to which one of our routes belongs, "" for a route that is not ours."""
    ours, _, rest = route_name.partition("/")
    return rest.rpartition("/")[0] if ours == "clinical" else ""


def port_of(cluster: dict[str, Any]) -> int:
    """Port of one of our server clusters (not of an aggregate)."""
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    return int(endpoint["address"]["socket_address"]["port_value"])


def clusters_for(route: RouteState, server_port: Callable[[str], int]) -> list[dict[str, Any]]:
    """Clusters that `routes_for` refers to. `server_port(digest)` is the port of the server that holds the model."""
    champion, challenger = route.champion, route.challenger
    clusters = [_server(route.cancer, champion, "", server_port(champion))]
    if challenger is not None:
        answers = cluster_name(route.cancer, challenger)
        clusters.append(
            _server(route.cancer, challenger, "", server_port(challenger))
            | {"outlier_detection": EJECTION, "common_lb_config": AT_ONCE}
        )
        clusters.append(
            _aggregate(fallback_cluster(route.cancer, challenger), [answers, cluster_name(route.cancer, champion)])
        )
        clusters.extend(_server(route.cancer, copied, "-shadow", server_port(copied)) for copied in _copied(route))
    return clusters


def routes_for(route: RouteState) -> list[dict[str, Any]]:
    """Our routes, most specific first: pins, the split, everything else of this cancer type (outcomes, metadata)."""
    infer = {"path": f"/v2/models/{route.cancer}/infer"}
    routes = []
    if route.pinned and route.challenger is not None:
        targets = {"challenger": route.challenger, "champion": route.champion}
        for arm, digest in targets.items():
            match = {**infer, "headers": [{"name": arms.VARIANT, "string_match": {"exact": arm}}]}
            action = {"route": {"cluster": cluster_name(route.cancer, digest), **_patience()}}
            routes.append(_route(route, f"pin-{arm}", match, action, {arms.ARM: arm, arms.ROLLOUT: ""}))
    action = {"direct_response": refusal()} if route.refused else {"route": _split(route)}
    routes.append(_route(route, "split", infer, action, {arms.ROLLOUT: route.rollout_id}))
    others = {"path_separated_prefix": f"/v2/models/{route.cancer}"}
    action = {"route": {"cluster": cluster_name(route.cancer, route.champion), **_patience()}}
    routes.append(_route(route, "other", others, action, {arms.ARM: "champion", arms.ROLLOUT: ""}))
    return routes


def _split(route: RouteState) -> dict[str, Any]:
    """Sticky by patient: Envoy hashes the pseudonym into 100 intervals, champion first, so that a larger challenger
    weight moves nobody back."""
    weights = [(arms.CHAMPION, route.champion, 100 - route.weight), (arms.CHALLENGER, route.challenger, route.weight)]
    clusters = []
    for header, digest, weight in weights:
        if digest is None or weight == 0:
            continue  # a cluster of weight 0 vanishes from Envoy's view anyway
        arm = "champion" if header == arms.CHAMPION else "challenger"
        name = cluster_name(route.cancer, digest) if arm == "champion" else fallback_cluster(route.cancer, digest)
        clusters.append({"name": name, "weight": weight, "request_headers_to_add": _overwrite({arms.ARM: arm})})
    action: dict[str, Any] = {
        "weighted_clusters": {"clusters": clusters, "use_hash_policy": True},
        "hash_policy": [{"header": {"header_name": arms.PATIENT}}],
        **_patience(),
    }
    if route.mirror:
        action["request_mirror_policies"] = [_copy(route, digest) for digest in _copied(route)]
    return action


def _copied(route: RouteState) -> list[str]:
    """Models that get mirrored copies, so that each patient has two scores."""
    if not route.mirror or route.challenger is None:
        return []
    return copied(route.champion, route.challenger, route.weight)


def _copy(route: RouteState, digest: str) -> dict[str, Any]:
    target = "challenger" if digest == route.challenger else "champion"
    return {
        "cluster": shadow_cluster(route.cancer, digest),
        "runtime_fraction": {"default_value": {"numerator": 100}},
        "request_headers_mutations": [{"append": header} for header in _overwrite({arms.COPY_FOR: target})],
    }


def _route(
    route: RouteState, kind: str, match: dict[str, Any], action: dict[str, Any], headers: dict[str, str]
) -> dict[str, Any]:
    headers = {
        arms.CHAMPION: route.champion,
        arms.CHALLENGER: route.challenger or "",
        arms.WEIGHT: str(route.weight),
        arms.COPY_FOR: arms.ORIGINAL,
        **headers,
    }
    return {
        "name": route_name(route.cancer, kind),
        "match": match,
        "request_headers_to_remove": [name for name, value in headers.items() if not value],
        "request_headers_to_add": _overwrite({name: value for name, value in headers.items() if value}),
        **action,
    }


def refusal() -> dict[str, Any]:
    """What a patient's request gets while no model may be relied on."""
    body = json.dumps({"error": REFUSAL})
    return {"status": 503, "body": {"inline_string": body}}


def _overwrite(headers: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
        for name, value in headers.items()
    ]


def _patience() -> dict[str, Any]:
    """Retries bridge the restart of a killed server (3 s); a retry keeps its request id, so nothing is logged twice.

    `previous_priorities` makes the retry go to the next member of the aggregate cluster instead of the dead one.
    """
    priority = {
        "name": "envoy.retry_priorities.previous_priorities",
        "typed_config": {
            "@type": f"{TYPES}extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
            "update_frequency": 1,
        },
    }
    retry = {
        "retry_on": "connect-failure,refused-stream,reset,retriable-status-codes",
        "retriable_status_codes": [503],
        "num_retries": 30,
        "per_try_timeout": ATTEMPT_TIMEOUT,
        "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
        "retry_priority": priority,
    }
    return {"timeout": REQUEST_TIMEOUT, "retry_policy": retry}


def _server(cancer: str, digest: str, suffix: str, port: int) -> dict[str, Any]:
    """Unhealthy when the server does not hold the model. A champion without alternative is still tried (panic)."""
    name = cluster_name(cancer, digest, suffix)
    endpoint = {"endpoint": {"address": {"socket_address": {"address": LOOPBACK, "port_value": port}}}}
    return {
        "@type": f"{TYPES}config.cluster.v3.Cluster",
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "circuit_breakers": _NO_RETRY_LIMIT,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": _connections()},
        "health_checks": [
            {
                "timeout": "1s",
                "interval": "1s",
                "no_traffic_interval": "1s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "http_health_check": {"path": f"/v2/models/{cancer}/versions/{digest}/ready"},
            }
        ],
    }


def _connections() -> dict[str, Any]:
    """Envoy drops idle connections before the server does (75 s), so no request meets a connection being closed."""
    return {
        "@type": f"{TYPES}extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"idle_timeout": "60s"},
    }


def _aggregate(name: str, members: list[str]) -> dict[str, Any]:
    kind = {"@type": f"{TYPES}extensions.clusters.aggregate.v3.ClusterConfig", "clusters": members}
    return {
        "@type": f"{TYPES}config.cluster.v3.Cluster",
        "name": name,
        "connect_timeout": "0.5s",
        "circuit_breakers": _NO_RETRY_LIMIT,
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {"name": "envoy.clusters.aggregate", "typed_config": kind},
    }
