"""What the gateway serves now, for all cancer types in one look."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from clinical_assets.rollout.routing import RouteConflict, RouteState, RoutingUnavailable
from clinical_assets.serving.envoy.admin import EnvoyAdmin
from clinical_assets.serving.envoy.reading import observe
from clinical_assets.serving.observing import Observed
from clinical_assets.serving.ports import PortError, Ports

if TYPE_CHECKING:
    from clinical_assets.serving.istio.proxies import Proxies
    from clinical_assets.serving.kubernetes.names import Names

RouteConfig = dict[str, Any]
Served = dict[str, RouteState | None]
"""By cancer type; `None` where the gateway serves something that is not ours, or its proxies differ."""


class ServedRoutes(Protocol):
    def read(self) -> Served:
        """Raises RoutingUnavailable when the gateway does not answer."""
        ...


class EnvoyServed:
    """The gateway on this machine."""

    def __init__(self, dataplane: Path) -> None:
        self._dataplane = dataplane

    def read(self) -> Served:
        try:
            admin = EnvoyAdmin(Ports.recorded(self._dataplane).admin)
        except PortError as error:
            raise RoutingUnavailable(str(error)) from error
        by_cancer = divided(admin.routes()[1])
        return {cancer: _state(lambda c, d: observe(c, d), cancer, part) for cancer, part in by_cancer.items()}


class IstioServed:
    """All proxies of the gateway in a cluster."""

    def __init__(self, proxies: Proxies, names: Names) -> None:
        self._proxies, self._names = proxies, names

    def read(self) -> Served:
        from clinical_assets.serving.istio.proxies import served_by_all

        parts: dict[str, dict[str, list[RouteConfig]]] = {}
        found = self._proxies.routes()
        for proxy, configs in found.items():
            for config in configs:
                for cancer, part in divided(config).items():
                    parts.setdefault(cancer, {name: [] for name in found})[proxy].append(part)
        return {
            cancer: _state(lambda c, d: served_by_all(c, d, self._names), cancer, part)
            for cancer, part in parts.items()
        }


def divided(config: RouteConfig) -> dict[str, RouteConfig]:
    """One route configuration for each cancer type, so that reading all of them costs what reading one did."""
    found: dict[str, list[dict[str, Any]]] = {}
    for host in config.get("virtual_hosts", []):
        for route in host.get("routes", []):
            owner, _, rest = route.get("name", "").partition("/")
            if owner == "clinical":
                found.setdefault(rest.partition("/")[0], []).append(route)
    return {cancer: {"virtual_hosts": [{"routes": routes}]} for cancer, routes in found.items()}


def _state(look: Callable[[str, Any], Observed | None], cancer: str, part: Any) -> RouteState | None:
    try:
        seen = look(cancer, part)
    except (RouteConflict, RoutingUnavailable):
        return None
    return seen.state if seen else None
