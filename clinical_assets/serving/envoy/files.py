"""The two versioned files that Envoy watches. Each in its own directory, because Envoy watches the directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clinical_assets.foundation.files import write_atomic
from clinical_assets.rollout.routing import RouteConflict

CLUSTERS = "clusters"
ROUTES = "routes"
ROUTE_CONFIG = "models"
ROUTE_TYPE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"


def empty_route_config() -> dict[str, Any]:
    """`validate_clusters`: a route to an unknown cluster is refused; without it every request would become a 503."""
    host = {"name": ROUTE_CONFIG, "domains": ["*"], "routes": []}
    return {"@type": ROUTE_TYPE, "name": ROUTE_CONFIG, "validate_clusters": True, "virtual_hosts": [host]}


class ConfigFile:
    """One discovery response on disk: a whole-number version that only rises, and the resources."""

    def __init__(self, dataplane: Path, kind: str) -> None:
        self.kind = kind
        self.path = dataplane / "envoy" / kind / f"{kind}.json"

    def create(self) -> None:
        """Write the first, empty version unless the file exists."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self.write(1, [] if self.kind == CLUSTERS else [empty_route_config()])

    def read(self) -> tuple[int, list[dict[str, Any]]]:
        """Version and resources.

        Raises:
            RouteConflict: missing or damaged by another writer.
        """
        try:
            document = json.loads(self.path.read_text())
            return int(document["version_info"]), list(document["resources"])
        except FileNotFoundError as error:
            raise RouteConflict(f"{self.path} is missing; start the data plane with `clinical up`") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RouteConflict(f"{self.path} was damaged by another writer ({type(error).__name__})") from error

    def write(self, version: int, resources: list[dict[str, Any]]) -> None:
        document = {"version_info": str(version), "resources": resources}
        write_atomic(self.path, json.dumps(document, indent=1).encode())
