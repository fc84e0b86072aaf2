"""Gateway proxies that serve what the double of istiod makes of the objects, without any traffic."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from clinical_assets.rollout.routing import RoutingUnavailable
from clinical_assets.serving.istio.proxies import RouteConfigs
from clinical_assets.serving.kubernetes.names import ANSWERS_PORT, COPIES_PORT, Names

from .api import ApiDouble
from .documents import Document
from .istiod import clusters, route_configuration


@dataclass
class TranslatedProxies:
    """`down`: no proxy answers. `frozen`: istiod is down, all proxies keep what they had; `stuck`: one of them does."""

    api: ApiDouble
    names: Names = field(default_factory=Names)
    down: bool = False
    frozen: dict[str, Document] | None = None
    stuck: dict[str, Document] | None = None

    def routes(self) -> RouteConfigs:
        return {proxy: [route_configuration(held, self.names)] for proxy, held in self._held().items()}

    def clusters(self) -> dict[str, set[str]]:
        ports = (ANSWERS_PORT, COPIES_PORT)
        return {proxy: set(clusters(held, self.names, ports)) for proxy, held in self._held().items()}

    def freeze(self) -> None:
        self.frozen = copy.deepcopy(self.api.objects)

    def hold_one_back(self) -> None:
        self.stuck = copy.deepcopy(self.api.objects)

    def _held(self) -> dict[str, dict[str, Document]]:
        """The objects that each proxy was last told of."""
        if self.down:
            raise RoutingUnavailable("Envoy does not answer on admin port 15091")
        with self.api.changed:
            held = copy.deepcopy(self.frozen or self.api.objects)
        return {"10.0.0.1": held, "10.0.0.2": self.stuck or held}
