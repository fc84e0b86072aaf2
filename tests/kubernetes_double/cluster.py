"""A whole cluster for tests: the API over HTTP, the platform's objects in it, proxies, and the routers' identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from sqlalchemy import Engine

from clinical_assets.rollout.routing import Authority
from clinical_assets.serving.istio.reading import names_model
from clinical_assets.serving.istio.router import IstioRouter
from clinical_assets.serving.istio.routes import objects
from clinical_assets.serving.istio.snapshots import Snapshots
from clinical_assets.serving.kubernetes.api import KubernetesApi
from clinical_assets.serving.kubernetes.backend import KubernetesServing
from clinical_assets.serving.kubernetes.manifests import PodOptions
from clinical_assets.serving.kubernetes.names import Names

from .api import ApiDouble, Request
from .documents import Document
from .proxies import TranslatedProxies
from .server import ApiServer

BASE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "base"
PLATFORM = "platform-token"


def role_rules(directory: Path = BASE) -> list[Document]:
    """What the Roles of one part of the installation grant the platform."""
    found = [document for document in yaml.safe_load_all((directory / "rbac.yaml").read_text()) if document]
    return [rule for document in found if document["kind"] == "Role" for rule in document["rules"]]


def installed(names: Names) -> list[Document]:
    return list(objects(names, "clinical-gateway", ["models.clinical.internal"]).values())


@dataclass
class Cluster:
    """`server` is shared between tests; `api` is this cluster's own state behind it."""

    server: ApiServer
    engine: Engine
    names: Names = field(default_factory=Names)
    api: ApiDouble = field(default_factory=ApiDouble)

    def __post_init__(self) -> None:
        self.server.api = self.api
        self.api.rules[PLATFORM] = role_rules()
        self.proxies = TranslatedProxies(self.api, self.names)
        for document in installed(self.names):
            self.write("POST", self._path(document).rpartition("/")[0], document, "kubectl-client-side-apply")

    def allow_recreation(self) -> None:
        """Install the component that putting deleted routes back needs."""
        self.api.rules[PLATFORM] += role_rules(BASE.parent / "components" / "recreate-routes")

    def connection(self, token: str = PLATFORM) -> KubernetesApi:
        return KubernetesApi(self.server.client(token))

    def serving(self) -> KubernetesServing:
        return KubernetesServing(self.connection(), PodOptions("clinical:1"), self.routed, self.names)

    def router(self, authority: Authority, recreate: bool = False, proxies: object = None) -> IstioRouter:
        api, models = self.connection(), self.serving()
        snapshots = Snapshots(self.engine)
        return IstioRouter(api, proxies or self.proxies, authority, models, snapshots, self.names, recreate)

    def routed(self, cancer: str, digest: str) -> bool:
        return names_model(self.api.objects.get(self.names.virtual_service), cancer, digest)

    def write(self, method: str, path: str, body: object, manager: str = "kubectl-edit", kind: str = "") -> Document:
        """Somebody else's write, with all rights."""
        kind = kind or ("application/json-patch+json" if isinstance(body, list) else "application/json")
        status, document = self.api.handle(Request(method, path, {"fieldManager": manager}, kind, body))
        assert status < 300, document
        return document

    def http(self) -> list[Document]:
        """The entries of the VirtualService as stored."""
        return self.api.objects[self.names.virtual_service]["spec"]["http"]

    def split(self, cancer: str) -> tuple[int, Document]:
        """Position and content of the entry that answers inference requests."""
        ends = (f"clinical/{cancer}/split", f"clinical/{cancer}/whole")
        return next((i, entry) for i, entry in enumerate(self.http()) if entry.get("name") in ends)

    def edit_weights(self, cancer: str, champion: int, challenger: int, manager: str = "kubectl-edit") -> None:
        at = f"/spec/http/{self.split(cancer)[0]}/route"
        steps = [
            {"op": "replace", "path": f"{at}/{i}/weight", "value": weight}
            for i, weight in enumerate((champion, challenger))
        ]
        self.write("PATCH", self.names.virtual_service, steps, manager)

    def delete_routes(self) -> None:
        self.write("DELETE", self.names.virtual_service, None)

    def _path(self, document: Document) -> str:
        paths = (self.names.virtual_service, self.names.destination_rule, self.names.envoy_filter)
        return next(path for path in paths if f"/{document['kind'].lower()}s/" in path)
