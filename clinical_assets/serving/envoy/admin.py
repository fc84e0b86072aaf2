"""Envoy's admin interface: what it serves now, whether it refused an update, and its request counters."""

from __future__ import annotations

import http.client
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from clinical_assets.rollout.routing import RoutingUnavailable
from clinical_assets.serving.envoy.files import CLUSTERS, ROUTE_CONFIG, ROUTES
from clinical_assets.serving.ports import LOOPBACK

REJECTED = {
    CLUSTERS: "cluster_manager.cds.update_rejected",
    ROUTES: f"http.gateway.rds.{ROUTE_CONFIG}.update_rejected",
}


@dataclass(frozen=True)
class HostCounts:
    """Attempts that reached one upstream host, and those of them that failed (5xx, timeout, reset, no connection).

    Envoy charges them to the host that was tried: a challenger's failure that the champion made good is still the
    challenger's, although the client saw 200 and the aggregate cluster counts a success.
    """

    attempts: int
    failures: int


@dataclass(frozen=True)
class EnvoyAdmin:
    port: int
    timeout: float = 2.0
    host: str = LOOPBACK

    def get(self, path: str) -> bytes:
        """
        Raises:
            RoutingUnavailable: no answer, or not 200.
        """
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            reason = f"Envoy does not answer on admin port {self.port} ({type(error).__name__})"
            raise RoutingUnavailable(f"{reason}; is the data plane up (`clinical up`)?") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise RoutingUnavailable(f"Envoy admin port {self.port} answers {answer.status} to {path}")
        return body

    def ready(self) -> bool:
        try:
            return self.get("/ready").strip() == b"LIVE"
        except RoutingUnavailable:
            return False

    def routes(self) -> tuple[int, dict[str, Any]]:
        """Version and RouteConfiguration in force; version 0 before the first one.

        Raises:
            RoutingUnavailable: see `get`.
        """
        for entry in self._dump("dynamic_route_configs"):
            if entry.get("route_config", {}).get("name") == ROUTE_CONFIG:
                return int(entry.get("version_info") or 0), entry["route_config"]
        return 0, {}

    def route_configs(self) -> list[dict[str, Any]]:
        """Every RouteConfiguration in force."""
        return [entry["route_config"] for entry in self._dump("dynamic_route_configs") if "route_config" in entry]

    def active_clusters(self) -> dict[str, dict[str, Any]]:
        """Clusters that Envoy uses, without those that still warm up."""
        return {entry["cluster"]["name"]: entry["cluster"] for entry in self._dump("dynamic_active_clusters")}

    def warming_clusters(self) -> set[str]:
        return {entry["cluster"]["name"] for entry in self._dump("dynamic_warming_clusters")}

    def clusters_version(self) -> int:
        text = self.get("/stats?filter=^cluster_manager.cds.version_text$").decode()
        value = text.partition(":")[2].strip().strip('"')
        return int(value) if value.isdigit() else 0

    def rejected(self, kind: str) -> int:
        """Updates of `kind` (clusters or routes) that Envoy refused since it started."""
        text = self.get(f"/stats?filter=^{REJECTED[kind]}$").decode()
        return int(text.partition(":")[2] or 0)

    def hosts(self) -> dict[str, list[HostCounts]]:
        """Counters of the upstream hosts by cluster."""
        document = json.loads(self.get("/clusters?format=json"))
        return {
            cluster["name"]: [_counts(host.get("stats", [])) for host in cluster.get("host_statuses", [])]
            for cluster in document.get("cluster_statuses", [])
        }

    def latency(self, cluster: str) -> tuple[tuple[float, int], ...]:
        """Cumulative histogram of a cluster's answer times: (upper bound in ms, answers up to it); empty before any."""
        return self.latencies(re.escape(cluster)).get(cluster, ())

    def latencies(self, clusters: str = ".*") -> dict[str, tuple[tuple[float, int], ...]]:
        """The same by cluster, of all whose name matches the regular expression."""
        query = f"filter=^cluster\\.{clusters}\\.upstream_rq_time$&histogram_buckets=cumulative&format=json"
        document = json.loads(self.get(f"/stats?{quote(query, safe='=&')}"))
        return {
            histogram["name"].removeprefix("cluster.").removesuffix(".upstream_rq_time"): tuple(
                (float(b["upper_bound"]), int(b["cumulative"])) for b in histogram["buckets"]
            )
            for entry in document.get("stats", [])
            for histogram in entry.get("histograms", [])
        }

    def _dump(self, resource: str) -> list[dict[str, Any]]:
        return json.loads(self.get(f"/config_dump?resource={resource}")).get("configs", [])


def _counts(stats: list[dict[str, Any]]) -> HostCounts:
    values = {stat["name"]: int(stat.get("value", 0)) for stat in stats}
    failures = values.get("rq_error", 0)
    return HostCounts(values.get("rq_success", 0) + failures, failures)
