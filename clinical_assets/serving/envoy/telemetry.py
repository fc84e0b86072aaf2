"""Request counters from Envoy, attributed to the model that was tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from clinical_assets.rollout.routing import NoData, RouteConflict, RouteState, RoutingUnavailable, ServiceCounts
from clinical_assets.serving.envoy.admin import EnvoyAdmin, HostCounts
from clinical_assets.serving.envoy.reading import by_cancer, observe
from clinical_assets.serving.envoy.resources import cluster_name, shadow_cluster
from clinical_assets.serving.ports import PortError, Ports


class EnvoyTelemetry:
    """Implements `Telemetry`. Counts start at zero when Envoy starts or a cluster is made anew: a reset.

    The champion, and a challenger with weight, are counted on patients' requests; a challenger without weight on its
    mirrored copies. The two have separate clusters, so copies never enter the patients' error rate.
    """

    def __init__(self, dataplane: Path) -> None:
        self.dataplane = dataplane

    def counts(self, cancer: str) -> dict[str, ServiceCounts] | NoData:
        """
        Raises:
            ValueError: a cluster with more than one server, whose counters cannot be attributed to one model.
        """
        try:
            admin = EnvoyAdmin(Ports.recorded(self.dataplane).admin)
            observed = observe(cancer, admin.routes()[1])
            hosts = admin.hosts()
            clusters = _counted_clusters(observed.state) if observed else {}
            latencies = {cluster: admin.latency(cluster) for cluster in clusters.values()}
        except (PortError, RoutingUnavailable, RouteConflict) as error:
            return NoData(str(error))
        if observed is None:
            return NoData(f"{cancer}: Envoy has no route for it")
        return _attributed(cancer, clusters, hosts, latencies)

    def counts_many(self, cancers: Sequence[str]) -> dict[str, dict[str, ServiceCounts]]:
        """See `rest.ManyCounts`: three answers of Envoy's admin port for all of them."""
        try:
            admin = EnvoyAdmin(Ports.recorded(self.dataplane).admin)
            configs, hosts, latencies = by_cancer(admin.routes()[1]), admin.hosts(), admin.latencies()
        except (PortError, RoutingUnavailable):
            return {}
        found = {}
        for cancer in cancers:
            with suppress(RouteConflict, ValueError):
                if observed := observe(cancer, configs.get(cancer, {})):
                    clusters = _counted_clusters(observed.state)
                    found[cancer] = _attributed(cancer, clusters, hosts, latencies)
        return found


def _attributed(
    cancer: str,
    clusters: dict[str, str],
    hosts: dict[str, list[HostCounts]],
    latencies: Mapping[str, tuple[tuple[float, int], ...]],
) -> dict[str, ServiceCounts]:
    counts = {}
    for digest, cluster in clusters.items():
        servers = hosts.get(cluster, [])
        if len(servers) > 1:
            raise ValueError(f"{cancer}: cluster {cluster} has {len(servers)} servers where one is expected")
        if servers:
            counted = servers[0].attempts, servers[0].failures
            counts[digest] = ServiceCounts(*counted, latencies.get(cluster, ()))
    return counts


def _counted_clusters(route: RouteState) -> dict[str, str]:
    clusters = {route.champion: cluster_name(route.cancer, route.champion)}
    if route.challenger is not None:
        named = cluster_name if route.weight else shadow_cluster
        clusters[route.challenger] = named(route.cancer, route.challenger)
    return clusters
