"""The data plane as the platform sees it: traffic router, telemetry and serving back end.

On one machine the supervisor (`clinical up`) owns the processes; these resources only record what should be, and
observe what is. With `CLINICAL_DEPLOYMENT=kubernetes` the ones of `resources.cluster` take their place.
"""

import os
from typing import TYPE_CHECKING, Any

import dagster as dg

from clinical_assets.foundation.home import Home
from resources.ledger_store import LedgerStore

if TYPE_CHECKING:
    from clinical_assets.rollout.authority import EvidenceAuthority
    from clinical_assets.rollout.routing import Telemetry as TelemetryPort
    from clinical_assets.rollout.routing import TrafficRouter as TrafficRouterPort
    from clinical_assets.serving.desired import DesiredState

DEPLOYMENTS = ("local", "kubernetes")


class DeploymentError(ValueError):
    """`CLINICAL_DEPLOYMENT` names no deployment, or a variable that it needs is not set."""


class TrafficRouter(dg.ConfigurableResource):
    """Envoy on this machine.

    Attributes:
        environment: where approvals hold (default `$CLINICAL_ENVIRONMENT`).
        recreate: a route that somebody deleted is put back with the challenger at 0; otherwise that waits for a person
            (default `$CLINICAL_RECREATE_ROUTES`).
    """

    ledger_store: dg.ResourceDependency[LedgerStore]
    environment: str = ""
    recreate: bool = False

    @property
    def approval_environment(self) -> str:
        return self.environment or os.environ.get("CLINICAL_ENVIRONMENT", "local")

    @property
    def recreates(self) -> bool:
        return self.recreate or os.environ.get("CLINICAL_RECREATE_ROUTES", "").lower() == "true"

    def authority(self) -> "EvidenceAuthority":
        from clinical_assets.rollout.authority import EvidenceAuthority

        return EvidenceAuthority(self.ledger_store.records(), self.ledger_store.ledger(), self.approval_environment)

    def router(self) -> "TrafficRouterPort":
        from clinical_assets.serving.envoy import EnvoyRouter

        return EnvoyRouter(Home.from_env().prepare().dataplane, self.authority(), self.recreates)


class Telemetry(dg.ConfigurableResource):
    """Envoy's own counters."""

    def source(self) -> "TelemetryPort":
        from clinical_assets.serving.envoy import EnvoyTelemetry

        return EnvoyTelemetry(Home.from_env().prepare().dataplane)


class ServingBackend(dg.ConfigurableResource):
    """Model servers on this machine; the desired state is a file that they follow."""

    def desired_state(self) -> "DesiredState":
        from clinical_assets.serving.desired import DesiredState

        return DesiredState(Home.from_env().prepare().dataplane)


def data_plane(ledger_store: LedgerStore) -> dict[str, Any]:
    """The three resources of this deployment, by name.

    Raises:
        DeploymentError: `CLINICAL_DEPLOYMENT` is neither `local` (the default) nor `kubernetes`.
    """
    deployment = os.environ.get("CLINICAL_DEPLOYMENT", "local")
    if deployment not in DEPLOYMENTS:
        raise DeploymentError(f"CLINICAL_DEPLOYMENT={deployment!r}; set it to one of {', '.join(DEPLOYMENTS)}")
    if deployment == "kubernetes":
        from resources.cluster import cluster_data_plane

        return cluster_data_plane(ledger_store)
    return {
        "traffic_router": TrafficRouter(ledger_store=ledger_store),
        "telemetry": Telemetry(),
        "serving_backend": ServingBackend(),
    }
