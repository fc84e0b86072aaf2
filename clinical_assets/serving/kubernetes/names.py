"""What the objects of the platform are called in the cluster. Every other module asks here."""

from __future__ import annotations

import re
from dataclasses import dataclass

ANSWERS_PORT = 8080
COPIES_PORT = 8081
"""Mirrored copies have a port of their own: Istio cannot mark them, and they are no patients' requests."""

CANCER_LABEL = "clinical-assets/cancer"
MODEL_LABEL = "clinical-assets/model"
MANAGER = "clinical-rollout"
"""Field manager of every write; any other name in the route's managed fields is another hand."""


@dataclass(frozen=True)
class Names:
    """
    Attributes:
        namespace: of the routes, the model servers and their shared Service.
        routes: name of the VirtualService, DestinationRule, EnvoyFilter and shared Service.
    """

    namespace: str = "clinical"
    routes: str = "clinical-models"

    @property
    def host(self) -> str:
        return f"{self.routes}.{self.namespace}.svc.cluster.local"

    @property
    def virtual_service(self) -> str:
        return self._istio("virtualservices")

    @property
    def destination_rule(self) -> str:
        return self._istio("destinationrules")

    @property
    def envoy_filter(self) -> str:
        return self._istio("envoyfilters", "v1alpha3")

    def deployment(self, name: str) -> str:
        return f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"

    def service(self, name: str) -> str:
        return f"/api/v1/namespaces/{self.namespace}/services/{name}"

    def autoscaler(self, name: str) -> str:
        return f"/apis/autoscaling/v2/namespaces/{self.namespace}/horizontalpodautoscalers/{name}"

    def disruption_budget(self, name: str) -> str:
        return f"/apis/policy/v1/namespaces/{self.namespace}/poddisruptionbudgets/{name}"

    def cluster(self, subset: str, port: int = ANSWERS_PORT) -> str:
        """The name that istiod gives the subset in Envoy."""
        return f"outbound|{port}|{subset}|{self.host}"

    def _istio(self, kind: str, version: str = "v1") -> str:
        return f"/apis/networking.istio.io/{version}/namespaces/{self.namespace}/{kind}/{self.routes}"


def subset(cancer: str, digest: str) -> str:
    """A DNS label for one model, e.g. `breast-fna-0123456789ab`."""
    return f"{cancer.replace('_', '-')}-{digest[:12]}"


def fallback_subset(cancer: str, digest: str) -> str:
    """The challenger's pods, and where none of them answers the champion's."""
    return f"{subset(cancer, digest)}-or-champion"


def is_our_subset(cancer: str, name: str) -> bool:
    ours = rf"{re.escape(cancer.replace('_', '-'))}-[0-9a-f]{{12}}(-or-champion)?"
    return re.fullmatch(ours, name) is not None


def workload(cancer: str, digest: str) -> str:
    """Name of all objects of one model."""
    return f"model-{subset(cancer, digest)}"
