"""The exporter: one HTTP address on which Prometheus reads the platform's own state.

It only looks: at the ledger, at what the gateway serves, at Dagster's storage, at the state directory. On one machine
`clinical monitor` runs it; in a cluster `clinical exporter --host 0.0.0.0` is a Deployment of one replica.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, ProcessCollector

from clinical_assets.foundation.home import Home
from clinical_assets.monitoring.collector import PlatformCollector
from clinical_assets.monitoring.served import EnvoyServed, IstioServed, ServedRoutes
from clinical_assets.monitoring.surroundings import DagsterSeen, dagster_seen
from clinical_assets.serving.ports import port_setting

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

PORT = ("CLINICAL_EXPORTER_PORT", 18084)


def port_from_env() -> int:
    """Raises PortError for what is no port."""
    return port_setting(*PORT)


def serve(home: Home, host: str, port: int) -> tuple[WSGIServer, Thread]:
    """Start answering on `host:port`; the caller shuts the server down.

    Raises:
        OSError: the port is taken.
    """
    from prometheus_client import start_http_server

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(PlatformCollector(home, home.database_url, _served(home), _dagster(home)))
    return start_http_server(port, host, registry)


def _served(home: Home) -> ServedRoutes:
    if os.environ.get("CLINICAL_DEPLOYMENT", "local") != "kubernetes":
        return EnvoyServed(home.dataplane)
    from clinical_assets.serving.istio.proxies import GatewayProxies
    from resources.cluster import KubernetesCluster

    cluster = KubernetesCluster()
    return IstioServed(GatewayProxies(cluster.proxies), cluster.names())


def _dagster(home: Home) -> Callable[[], DagsterSeen]:
    """The instance is opened at the first look, and again after an error; without one there is nothing to see."""
    opened: list[Any] = []

    def look() -> DagsterSeen:
        directory = os.environ.get("DAGSTER_HOME") or str(home.dagster)
        if not os.path.exists(os.path.join(directory, "dagster.yaml")):
            return DagsterSeen()
        if not opened:
            import dagster as dg

            opened.append(dg.DagsterInstance.from_config(directory))
        try:
            return dagster_seen(opened[0], time.time())
        except Exception:
            opened.pop().dispose()
            raise

    return look
