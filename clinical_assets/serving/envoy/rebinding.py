"""Clusters point at ports; when the supervisor starts with other ports, they follow their slot."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from clinical_assets.serving.desired import DesiredState
from clinical_assets.serving.envoy.files import CLUSTERS, ConfigFile
from clinical_assets.serving.envoy.resources import cluster_name, shadow_cluster
from clinical_assets.serving.locking import locked
from clinical_assets.serving.ports import Ports


def rebind_clusters(dataplane: Path, ports: Ports) -> None:
    """Give every server cluster of a placed model the present port of its slot. Other clusters stay as they are."""
    port_by_cluster: dict[str, int] = {}
    for cancer, slots in DesiredState(dataplane).read().items():
        for slot, digest in slots.items():
            if digest is not None:
                for named in (cluster_name, shadow_cluster):
                    port_by_cluster[named(cancer, digest)] = getattr(ports, slot)
    with locked(dataplane / "routes.lock", timeout=30):
        file = ConfigFile(dataplane, CLUSTERS)
        version, clusters = file.read()
        moved = [_with_port(cluster, port_by_cluster.get(cluster["name"])) for cluster in clusters]
        if moved != clusters:
            file.write(version + 1, moved)


def _with_port(cluster: dict[str, Any], port: int | None) -> dict[str, Any]:
    if port is None:
        return cluster
    cluster = copy.deepcopy(cluster)
    for endpoint in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]:
        endpoint["endpoint"]["address"]["socket_address"]["port_value"] = port
    return cluster
