"""The local gateway: a real Envoy whose clusters and routes are two files, replaced atomically by one writer."""

from clinical_assets.serving.envoy.router import EnvoyRouter
from clinical_assets.serving.envoy.telemetry import EnvoyTelemetry

__all__ = ["EnvoyRouter", "EnvoyTelemetry"]
