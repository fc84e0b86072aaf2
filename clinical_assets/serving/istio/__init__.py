"""The gateway of a cluster: Istio objects of which only our entries are edited, and proxies that are believed."""

from clinical_assets.serving.istio.proxies import GatewayProxies
from clinical_assets.serving.istio.router import IstioRouter
from clinical_assets.serving.istio.telemetry import IstioTelemetry, Prometheus

__all__ = ["GatewayProxies", "IstioRouter", "IstioTelemetry", "Prometheus"]
