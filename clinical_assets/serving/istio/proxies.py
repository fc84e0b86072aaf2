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


@dataclass(frozen=True)
class ProxyView:
    """What one proxy has in force: its route configurations, and the names of its clusters."""

    proxy: str
    configs: list[dict[str, Any]]
    clusters: frozenset[str]


class Proxies(Protocol):
    def views(self) -> list[ProxyView]:
        """One view of every proxy of the gateway, never an empty list.

        Raises:
            RoutingUnavailable: no proxy is known, or one of them does not answer.
        """
        ...


@dataclass(frozen=True)
class GatewayProxies:
    """Asks Envoy's read-only configuration dump of every address behind `address` (`host:port`).

    In the cluster the host is a headless Service over the gateway's pods and the port a listener that passes on
    `/config_dump` alone (deploy/kubernetes/base/proxies.yaml).
    """

    address: str

    def views(self) -> list[ProxyView]:
        return [self._view(*found) for found in self._addresses()]

    def _addresses(self) -> list[tuple[str, int]]:
        host, _, port = self.address.rpartition(":")
        try:
            found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except (OSError, ValueError) as error:
            raise RoutingUnavailable(f"no gateway proxy behind {self.address!r} ({error})") from error
        return sorted({(str(entry[4][0]), int(entry[4][1])) for entry in found})

    @staticmethod
    def _view(host: str, port: int) -> ProxyView:
        admin = EnvoyAdmin(port, host=host)
        return ProxyView(f"{host}:{port}", admin.route_configs(), frozenset(admin.active_clusters()))


def served_by_all(cancer: str, views: list[ProxyView], names: Names) -> Observed | None:
    """The route that all proxies serve alike, `None` if none of them serves one.

    Raises:
        RouteConflict: a proxy serves what is not ours.
        RoutingUnavailable: the proxies differ, as they do for a moment during every change.
    """
    routes = [served(cancer, view.configs, names) for view in views]
    if any(route != routes[0] for route in routes):
        weights = {view.proxy: route and route.state.weight for view, route in zip(views, routes, strict=True)}
        raise RoutingUnavailable(f"{cancer}: the gateway's proxies serve different routes, challenger at {weights} %")
    return routes[0]


def lacking(views: list[ProxyView], clusters: set[str]) -> set[str]:
    """Clusters that some proxy does not have yet."""
    return {cluster for view in views for cluster in clusters - view.clusters}
