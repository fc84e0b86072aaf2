"""From Envoy's route configuration back to a route: what is served, not what somebody meant to write."""

from __future__ import annotations

from functools import partial
from typing import Any

from clinical_assets.rollout.routing import RouteConflict, RouteState
from clinical_assets.serving.envoy.resources import cancer_of, cluster_name, fallback_cluster, is_our_route, route_name
from clinical_assets.serving.observing import Observed, Split, interpret, way_back


def our_routes(cancer: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        route
        for host in config.get("virtual_hosts", [])
        for route in host.get("routes", [])
        if is_our_route(cancer, route.get("name", ""))
    ]


def by_cancer(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The RouteConfiguration cut up: for each cancer type one that holds its routes alone."""
    found: dict[str, list[dict[str, Any]]] = {}
    for host in config.get("virtual_hosts", []):
        for route in host.get("routes", []):
            if cancer := cancer_of(route.get("name", "")):
                found.setdefault(cancer, []).append(route)
    return {cancer: {"virtual_hosts": [{"routes": routes}]} for cancer, routes in found.items()}


def observe(cancer: str, config: dict[str, Any]) -> Observed | None:
    """Read the route of one cancer type from a RouteConfiguration; `None` if it has none.

    Raises:
        RouteConflict: a destination that is not ours, or weights that do not add up to 100; the message names it.
    """
    routes = {route["name"]: route for route in our_routes(cancer, config)}
    split = routes.get(route_name(cancer, "split"))
    if split is None:
        return None
    action = split.get("route", {})
    found = Split(
        headers=written_headers(split),
        weights=weights_by_cluster(action),
        mirror=bool(action.get("request_mirror_policies")),
        pinned=route_name(cancer, "pin-challenger") in routes,
        refused="direct_response" in split,
    )
    return interpret(cancer, found, partial(cluster_name, cancer), partial(fallback_cluster, cancer))


def current_for(route: RouteState, config: dict[str, Any]) -> Observed | None:
    """`observe`, except that a return to the champion alone also replaces a route that somebody else has broken.

    Raises:
        RouteConflict: the route is broken and `route` is not the way back to its own champion.
    """
    try:
        return observe(route.cancer, config)
    except RouteConflict:
        for split in our_routes(route.cancer, config):
            if instead := way_back(route, written_headers(split)):
                return instead
        raise


def written_headers(route: dict[str, Any]) -> dict[str, str]:
    """Headers that the route sets on every request."""
    return {
        entry["header"]["key"]: entry["header"].get("value", "") for entry in route.get("request_headers_to_add", [])
    }


def weights_by_cluster(action: dict[str, Any]) -> dict[str, int]:
    """Per cent by cluster; a lone cluster gets everything."""
    if "cluster" in action:
        return {action["cluster"]: 100}
    return {entry["name"]: entry.get("weight", 0) for entry in action.get("weighted_clusters", {}).get("clusters", [])}


def with_routes(cancer: str, resources: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """`resources` with this cancer type's routes replaced; every other value stays as it is, in its place.

    New routes go first in the virtual host, before anybody's catch-all.

    Raises:
        RouteConflict: another writer removed the virtual host.
    """
    result, placed = [], False
    for config in resources:
        hosts = []
        for host in config.get("virtual_hosts", []):
            routes = host.get("routes", [])
            positions = [index for index, route in enumerate(routes) if is_our_route(cancer, route.get("name", ""))]
            if not placed and (positions or host.get("name") == "models"):
                first = positions[0] if positions else 0
                rest = [route for index, route in enumerate(routes) if index not in positions]
                host, placed = {**host, "routes": [*rest[:first], *ours, *rest[first:]]}, True
            hosts.append(host)
        result.append({**config, "virtual_hosts": hosts} if hosts else config)
    if not placed:
        raise RouteConflict("the route file has no virtual host named 'models'; another writer removed it")
    return result
