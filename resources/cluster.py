"""The data plane of a Kubernetes cluster with Istio, behind the same ports as the one on a single machine.

The identity is the pod's service account, or the current context of `$KUBECONFIG` outside the cluster.
"""

import os
from typing import TYPE_CHECKING, Any

import dagster as dg

from resources.data_plane import DeploymentError, ServingBackend, Telemetry, TrafficRouter
from resources.ledger_store import LedgerStore

if TYPE_CHECKING:
    from clinical_assets.rollout.routing import Telemetry as TelemetryPort
    from clinical_assets.serving.istio import IstioRouter
    from clinical_assets.serving.kubernetes.api import KubernetesApi
    from clinical_assets.serving.kubernetes.backend import KubernetesServing
    from clinical_assets.serving.kubernetes.names import Names


def value_of(setting: str) -> str:
    """A setting that names an environment variable: Dagster has read it inside a run, elsewhere it is read here.

    Raises:
        DeploymentError: the variable is not set.
    """
    if not isinstance(setting, dg.EnvVar):
        return setting
    found = setting.get_value()
    if found is None:
        raise DeploymentError(f"set {setting.env_var_name}; CLINICAL_DEPLOYMENT=kubernetes needs it")
    return found


class KubernetesCluster(dg.ConfigurableResource):
    """One namespace of one cluster.

    Attributes:
        routes: name of the VirtualService, DestinationRule, EnvoyFilter and shared Service.
        proxies: `host:port` whose addresses are the gateway's proxies, with their read-only configuration dump.
    """

    namespace: str = "clinical"
    routes: str = "clinical-models"
    proxies: str = "clinical-gateway-proxies.clinical:15091"

    def names(self) -> "Names":
        from clinical_assets.serving.kubernetes.names import Names

        return Names(self.namespace, self.routes)

    def api(self) -> "KubernetesApi":
        from clinical_assets.serving.kubernetes.api import KubernetesApi

        return KubernetesApi.connect()


class ClusterServing(ServingBackend):
    """A Deployment and a Service for every model; an autoscaler if `max_replicas` is above `replicas`."""

    cluster: dg.ResourceDependency[KubernetesCluster]
    image: str
    replicas: int = 2
    max_replicas: int = 6

    def desired_state(self) -> "KubernetesServing":
        from clinical_assets.serving.istio.reading import names_model
        from clinical_assets.serving.kubernetes.backend import KubernetesServing
        from clinical_assets.serving.kubernetes.manifests import PodOptions

        api, names = self.cluster.api(), self.cluster.names()

        def routed(cancer: str, digest: str) -> bool:
            return names_model(api.get(names.virtual_service), cancer, digest)

        options = PodOptions(
            value_of(self.image),
            self.replicas,
            self.max_replicas,
            objects_url=os.environ.get("CLINICAL_OBJECTS_URL", ""),
        )
        return KubernetesServing(api, options, routed, names)


class IstioTrafficRouter(TrafficRouter):
    """Istio's objects, edited in our entries only, and believed when the gateway's proxies serve them."""

    cluster: dg.ResourceDependency[KubernetesCluster]
    serving: dg.ResourceDependency[ClusterServing]

    def router(self) -> "IstioRouter":
        from clinical_assets.serving.istio import GatewayProxies, IstioRouter
        from clinical_assets.serving.istio.snapshots import Snapshots

        return IstioRouter(
            api=self.cluster.api(),
            proxies=GatewayProxies(self.cluster.proxies),
            authority=self.authority(),
            models=self.serving.desired_state(),
            snapshots=Snapshots(self.ledger_store.engine()),
            names=self.cluster.names(),
            recreate=self.recreates,
        )


class PrometheusTelemetry(Telemetry):
    """`istio_requests_total` of the gateway and of the model servers. `token`: bearer token, "" for none."""

    cluster: dg.ResourceDependency[KubernetesCluster]
    traffic_router: dg.ResourceDependency[IstioTrafficRouter]
    url: str
    token: str = ""

    def source(self) -> "TelemetryPort":
        from clinical_assets.catalog import load_catalog
        from clinical_assets.serving.istio import IstioTelemetry, Prometheus
        from clinical_assets.serving.istio.counters import CounterStore

        counters = CounterStore(self.traffic_router.ledger_store.engine())
        routes = self.traffic_router.router()
        prometheus = Prometheus(value_of(self.url), value_of(self.token))
        catalog = load_catalog()

        def timed(cancer: str) -> bool:
            return cancer in catalog and catalog[cancer].rollout.latency_guardrail

        return IstioTelemetry(prometheus, routes, counters, self.cluster.names(), timed=timed)


def cluster_data_plane(ledger_store: LedgerStore) -> dict[str, Any]:
    """The three resources, configured by environment variables; the token alone is a secret."""
    cluster = KubernetesCluster()
    serving = ClusterServing(cluster=cluster, image=dg.EnvVar("CLINICAL_MODEL_SERVER_IMAGE"))
    router = IstioTrafficRouter(ledger_store=ledger_store, cluster=cluster, serving=serving)
    telemetry = PrometheusTelemetry(
        cluster=cluster,
        traffic_router=router,
        url=dg.EnvVar("CLINICAL_PROMETHEUS_URL"),
        token=dg.EnvVar("CLINICAL_PROMETHEUS_TOKEN"),
    )
    return {"traffic_router": router, "telemetry": telemetry, "serving_backend": serving}
