"""From Envoy's route configuration back to a route: what is served, not what somebody meant to write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from clinical_assets.rollout.routing import RouteConflict, RouteState
from clinical_assets.serving import arms
from clinical_assets.serving.envoy.resources import cluster_name, fallback_cluster, is_our_route, route_name


@dataclass(frozen=True)
class Observed:
    """`state` holds the weights that Envoy applies; `declared` the weight that the last route write stated.

    They differ after a hand edit. Only `declared` went through the guard, so only it counts as verified scope.
    """

    state: RouteState
    declared: int

    @property
    def verified(self) -> RouteState:
        return replace(self.state, weight=min(self.state.weight, self.declared))


def our_routes(cancer: str, config: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        route
        for host in config.get("virtual_hosts", [])
        for route in host.get("routes", [])
        if is_our_route(cancer, route.get("name", ""))
    ]


def observe(cancer: str, config: dict[str, Any]) -> Observed | None:
    """Read the route of one cancer type from a RouteConfiguration; `None` if it has none.

    Raises:
        RouteConflict: a destination that is not ours, or weights that do not add up to 100; the message names it.
    """
    routes = {route["name"]: route for route in our_routes(cancer, config)}
    split = routes.get(route_name(cancer, "split"))
    if split is None:
        return None
    headers = _headers(split)
    champion, challenger = headers.get(arms.CHAMPION, ""), headers.get(arms.CHALLENGER) or None
    if not champion:
        raise RouteConflict(f"{cancer}: the route in Envoy names no champion; another writer changed it")
    action = split.get("route", {})
    weights = {entry["name"]: entry.get("weight", 0) for entry in _weighted(action)}
    ours = {cluster_name(cancer, champion)}
    if challenger:
        ours.add(fallback_cluster(cancer, challenger))
    if foreign := sorted(set(weights) - ours):
        raise RouteConflict(f"{cancer}: the route holds the foreign destination {', '.join(foreign)}; remove it")
    if sum(weights.values()) != 100:
        raise RouteConflict(f"{cancer}: the weights {weights} of the route do not add up to 100")
    weight = weights.get(fallback_cluster(cancer, challenger), 0) if challenger else 0
    state = RouteState(
        cancer=cancer,
        rollout_id=headers.get(arms.ROLLOUT, ""),
        champion=champion,
        challenger=challenger,
        weight=weight,
        mirror=bool(action.get("request_mirror_policies")),
        pinned=route_name(cancer, "pin-challenger") in routes,
    )
    return Observed(state, int(headers.get(arms.WEIGHT, "0")))


def current_for(route: RouteState, config: dict[str, Any]) -> Observed | None:
    """`observe`, except that a return to the champion alone also replaces a route that somebody else has broken.

    Raises:
        RouteConflict: the route is broken and `route` is not the way back to its own champion.
    """
    try:
        return observe(route.cancer, config)
    except RouteConflict:
        for split in our_routes(route.cancer, config):
            headers = _headers(split)
            if route.challenger is None and headers.get(arms.CHAMPION) == route.champion:
                return Observed(replace(route, rollout_id=headers.get(arms.ROLLOUT, "")), 0)
        raise


def retreats(route: RouteState, current: RouteState) -> bool:
    """Whether `route` gives no model more than it has: same champion, and at most the challenger's present exposure."""
    if route.champion != current.champion:
        return False
    if route.challenger is None:
        return True
    return (
        route.challenger == current.challenger
        and route.weight <= current.weight
        and route.mirror <= current.mirror
        and route.pinned <= current.pinned
    )


def _headers(route: dict[str, Any]) -> dict[str, str]:
    return {
        entry["header"]["key"]: entry["header"].get("value", "") for entry in route.get("request_headers_to_add", [])
    }


def _weighted(action: dict[str, Any]) -> list[dict[str, Any]]:
    if "cluster" in action:
        return [{"name": action["cluster"], "weight": 100}]
    return list(action.get("weighted_clusters", {}).get("clusters", []))


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
