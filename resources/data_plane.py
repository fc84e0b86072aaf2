"""The local data plane as the platform sees it: traffic router, telemetry and serving back end over one directory.

The supervisor (`clinical up`) owns the processes; these resources only record what should be, and observe what is.
"""

import os
from typing import TYPE_CHECKING

import dagster as dg

from clinical_assets.foundation.home import Home
from resources.ledger_store import LedgerStore

if TYPE_CHECKING:
    from clinical_assets.rollout.authority import EvidenceAuthority
    from clinical_assets.rollout.routing import Telemetry as TelemetryPort
    from clinical_assets.rollout.routing import TrafficRouter as TrafficRouterPort
    from clinical_assets.serving.desired import DesiredState


class TrafficRouter(dg.ConfigurableResource):
    """Envoy on this machine. `environment` is where approvals hold (default `$CLINICAL_ENVIRONMENT`)."""

    ledger_store: dg.ResourceDependency[LedgerStore]
    environment: str = ""

    @property
    def approval_environment(self) -> str:
        return self.environment or os.environ.get("CLINICAL_ENVIRONMENT", "local")

    def authority(self) -> "EvidenceAuthority":
        from clinical_assets.rollout.authority import EvidenceAuthority

        return EvidenceAuthority(self.ledger_store.records(), self.ledger_store.ledger(), self.approval_environment)

    def router(self) -> "TrafficRouterPort":
        from clinical_assets.serving.envoy import EnvoyRouter

        return EnvoyRouter(Home.from_env().prepare().dataplane, self.authority())


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
