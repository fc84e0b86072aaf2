"""What Envoy is started with: one listener, the admin port, and two watched files for clusters (CDS) and routes (RDS).

Everything that changes at run time is in the files, so a restarted Envoy comes back with the routes of its predecessor.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clinical_assets.foundation.files import write_atomic
from clinical_assets.serving.envoy import tracing
from clinical_assets.serving.envoy.files import CLUSTERS, ROUTE_CONFIG, ROUTES, ConfigFile
from clinical_assets.serving.ports import LOOPBACK, Ports

TYPES = "type.googleapis.com/envoy."


def write_bootstrap(dataplane: Path, ports: Ports) -> Path:
    """Write `envoy.json`, and empty cluster and route files where there are none; returns the path for `envoy -c`."""
    for kind in (CLUSTERS, ROUTES):
        ConfigFile(dataplane, kind).create()
    path = dataplane / "envoy.json"
    write_atomic(path, json.dumps(bootstrap(dataplane, ports), indent=1).encode())
    return path


def bootstrap(dataplane: Path, ports: Ports) -> dict[str, Any]:
    def address(port: int) -> dict[str, Any]:
        return {"socket_address": {"address": LOOPBACK, "port_value": port}}

    def watched(kind: str) -> dict[str, Any]:
        path = ConfigFile(dataplane, kind).path
        source = {"path": str(path), "watched_directory": {"path": str(path.parent)}}
        return {"resource_api_version": "V3", "path_config_source": source}

    connection_manager = {
        "@type": f"{TYPES}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "gateway",
        "preserve_external_request_id": True,
        "access_log": [_failures_only(dataplane / "logs" / "envoy-failures.log")],
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": watched(ROUTES)},
        "http_filters": [_filter("http.router", f"{TYPES}extensions.filters.http.router.v3.Router")],
        **tracing.connection_manager(),
    }
    listener = {
        "name": "gateway",
        "address": address(ports.gateway),
        "filter_chains": [{"filters": [_filter("network.http_connection_manager", **connection_manager)]}],
    }
    return {
        "node": {"id": "clinical-gateway", "cluster": "clinical-gateway"},
        "admin": {"address": address(ports.admin)},
        "dynamic_resources": {"cds_config": watched(CLUSTERS)},
        "static_resources": {"listeners": [listener], "clusters": tracing.clusters()},
    }


def _filter(name: str, type_url: str | None = None, **config: Any) -> dict[str, Any]:
    return {"name": f"envoy.filters.{name}", "typed_config": {"@type": type_url, **config} if type_url else config}


def _failures_only(path: Path) -> dict[str, Any]:
    """Access log of 5xx answers. No patient header in it, and it does not grow with healthy traffic."""
    fields = {
        "at": "%START_TIME%",
        "request": "%REQ(X-REQUEST-ID)%",
        "code": "%RESPONSE_CODE%",
        "flags": "%RESPONSE_FLAGS%",
        "cluster": "%UPSTREAM_CLUSTER%",
        "route": "%ROUTE_NAME%",
        "ms": "%DURATION%",
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    }
    threshold = {"default_value": 500, "runtime_key": "access_log.failures"}
    return {
        "name": "envoy.access_loggers.file",
        "filter": {"status_code_filter": {"comparison": {"op": "GE", "value": threshold}}},
        "typed_config": {
            "@type": f"{TYPES}extensions.access_loggers.file.v3.FileAccessLog",
            "path": str(path),
            "log_format": {"json_format": fields},
        },
    }
