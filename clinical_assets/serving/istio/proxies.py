"""The gateway's proxies: the only place that knows what is served. An object's acceptance proves nothing."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any, Protocol

from clinical_assets.rollout.routing import RoutingUnavailable
from clinical_assets.serving.envoy.admin import EnvoyAdmin
from clinical_assets.serving.istio.reading import served
from clinical_assets.serving.kubernetes.names import Names
from clinical_assets.serving.observing import Observed

RouteConfigs = dict[str, list[dict[str, Any]]]
"""The route configurations that each proxy has in force."""


class Proxies(Protocol):
    """Every method covers all proxies of the gateway, at least one.

    Raises:
        RoutingUnavailable: no proxy is known, or one of them does not answer.
    """

    def routes(self) -> RouteConfigs: ...

    def clusters(self) -> dict[str, set[str]]:
        """Names of the clusters in force, by proxy."""
        ...


@dataclass(frozen=True)
class GatewayProxies:
    """Asks Envoy's read-only configuration dump of every address behind `address` (`host:port`).

    In the cluster the host is a headless Service over the gateway's pods and the port a listener that passes on
    `/config_dump` alone (deploy/istio/window.yaml).
    """

    address: str

    def routes(self) -> RouteConfigs:
        return {name: admin.route_configs() for name, admin in self._admins().items()}

    def clusters(self) -> dict[str, set[str]]:
        return {name: set(admin.active_clusters()) for name, admin in self._admins().items()}

    def _admins(self) -> dict[str, EnvoyAdmin]:
        host, _, port = self.address.rpartition(":")
        try:
            found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            raise RoutingUnavailable(f"no gateway proxy behind {self.address!r} ({error})") from error
        proxies = sorted({(str(entry[4][0]), int(entry[4][1])) for entry in found})
        return {f"{address}:{at}": EnvoyAdmin(at, host=address) for address, at in proxies}


def served_by_all(cancer: str, configs: RouteConfigs, names: Names) -> Observed | None:
    """The route that all proxies serve alike, `None` if none of them serves one.

    Raises:
        RouteConflict: a proxy serves what is not ours.
        RoutingUnavailable: the proxies differ, as they do for a moment during every change.
    """
    routes = {proxy: served(cancer, found, names) for proxy, found in configs.items()}
    first = next(iter(routes.values()))
    if any(route != first for route in routes.values()):
        weights = {proxy: route and route.state.weight for proxy, route in routes.items()}
        raise RoutingUnavailable(f"{cancer}: the gateway's proxies serve different routes, challenger at {weights} %")
    return first
