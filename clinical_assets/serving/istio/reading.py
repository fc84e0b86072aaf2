"""Back from Istio's objects, and from what its proxies serve, to a route."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from clinical_assets.rollout.routing import RouteConflict, RouteState
from clinical_assets.serving import arms
from clinical_assets.serving.envoy.reading import our_routes, weights_by_cluster, written_headers
from clinical_assets.serving.envoy.resources import route_name
from clinical_assets.serving.istio.routes import SPLIT, WHOLE, positions
from clinical_assets.serving.kubernetes.names import ANSWERS_PORT, MANAGER, Names, fallback_subset, subset
from clinical_assets.serving.observing import Observed, Split, interpret, way_back


def declared(cancer: str, virtual_service: dict[str, Any] | None, names: Names) -> Observed | None:
    """The route in the VirtualService, `None` if it has none.

    Raises:
        RouteConflict: a destination that is not ours, or weights that do not add up to 100; the message names it.
    """
    entries = _entries(cancer, virtual_service)
    entry = entries.get(route_name(cancer, SPLIT)) or entries.get(route_name(cancer, WHOLE))
    if entry is None:
        return None
    split = Split(
        headers=_set_headers(entry),
        weights=_weights(entry, names),
        mirror=bool(entry.get("mirrors") or entry.get("mirror")),
        pinned=route_name(cancer, "pin-challenger") in entries,
        refused="directResponse" in entry,
    )
    return interpret(cancer, split, partial(subset, cancer), partial(fallback_subset, cancer))


def current_for(route: RouteState, virtual_service: dict[str, Any] | None, names: Names) -> Observed | None:
    """`declared`, except that a return to the champion alone also replaces a route that somebody else has broken.

    Raises:
        RouteConflict: the route is broken and `route` is not the way back to its own champion.
    """
    try:
        return declared(route.cancer, virtual_service, names)
    except RouteConflict:
        for entry in _entries(route.cancer, virtual_service).values():
            if instead := way_back(route, _set_headers(entry)):
                return instead
        raise


def served(cancer: str, configs: list[dict[str, Any]], names: Names) -> Observed | None:
    """The route in the route configurations of one proxy, `None` if it serves none.

    Raises:
        RouteConflict: as `declared`; or a split that is drawn anew for every request instead of once per patient.
    """
    found = [route for config in configs for route in our_routes(cancer, config)]
    by_name = {route["name"]: route for route in found}
    entry = by_name.get(route_name(cancer, SPLIT)) or by_name.get(route_name(cancer, WHOLE))
    if entry is None:
        return None
    action = entry.get("route", {})
    weights = weights_by_cluster(action)
    if len(weights) > 1 and not _sticky(action):
        raise RouteConflict(f"{cancer}: the proxy does not keep patients in their arm; is the EnvoyFilter in place?")
    split = Split(
        headers=written_headers(entry),
        weights=weights,
        mirror=bool(action.get("request_mirror_policies")),
        pinned=route_name(cancer, "pin-challenger") in by_name,
        refused="direct_response" in entry,
    )
    destinations = (partial(_cluster, names, named, cancer) for named in (subset, fallback_subset))
    return interpret(cancer, split, *destinations)


def names_model(virtual_service: dict[str, Any] | None, cancer: str, digest: str) -> bool:
    """Whether any entry, whoever wrote it, still sends or copies requests to the model."""
    wanted = (subset(cancer, digest), fallback_subset(cancer, digest))
    for entry in (virtual_service or {}).get("spec", {}).get("http") or []:
        targets = [*entry.get("route", []), *entry.get("mirrors", []), {"destination": entry.get("mirror") or {}}]
        if any(target.get("destination", {}).get("subset") in wanted for target in targets):
            return True
    return False


def last_writer(virtual_service: dict[str, Any] | None) -> str:
    """Field manager that wrote the routes last, "" if that was the platform itself or is not recorded."""
    writers = [
        (entry.get("time", ""), entry.get("manager") != MANAGER, entry.get("manager", ""))
        for entry in (virtual_service or {}).get("metadata", {}).get("managedFields", [])
        if "f:http" in entry.get("fieldsV1", {}).get("f:spec", {})
    ]
    return max(writers)[2] if writers and max(writers)[1] else ""


def _entries(cancer: str, virtual_service: dict[str, Any] | None) -> dict[str, dict[str, Any]]:
    http = (virtual_service or {}).get("spec", {}).get("http") or []
    return {http[index]["name"]: http[index] for index in positions(cancer, http)}


def _set_headers(entry: dict[str, Any]) -> dict[str, str]:
    return entry.get("headers", {}).get("request", {}).get("set", {})


def _weights(entry: dict[str, Any], names: Names) -> dict[str, int]:
    """Weight by subset; by host for a destination that is not in our service. A lone destination gets everything."""
    destinations = entry.get("route", [])
    weights: dict[str, int] = {}
    for destination in destinations:
        to = destination.get("destination", {})
        name = to.get("subset", "") if to.get("host") in (names.host, names.routes) else to.get("host", "?")
        share = 100 if len(destinations) == 1 else destination.get("weight", 0)
        weights[name] = weights.get(name, 0) + share
    return weights


def _sticky(action: dict[str, Any]) -> bool:
    hashed = [policy.get("header", {}).get("header_name") for policy in action.get("hash_policy", [])]
    return bool(action["weighted_clusters"].get("use_hash_policy")) and arms.PATIENT in hashed


def _cluster(names: Names, named: Callable[[str, str], str], cancer: str, digest: str) -> str:
    return names.cluster(named(cancer, digest), ANSWERS_PORT)
