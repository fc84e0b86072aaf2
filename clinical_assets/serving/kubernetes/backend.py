"""Models as Deployments: placed when they are wanted, ready before they are routed, drained before they are removed."""

from __future__ import annotations

import time
from collections.abc import Callable

from clinical_assets.rollout.routing import RoutingUnavailable
from clinical_assets.serving.desired import PlacementError
from clinical_assets.serving.kubernetes import manifests
from clinical_assets.serving.kubernetes.api import Document, KubernetesApi, LostRace
from clinical_assets.serving.kubernetes.manifests import DIGEST, WRITTEN, PodOptions
from clinical_assets.serving.kubernetes.names import CANCER_LABEL, Names, workload

RETIRED = "clinical-assets/retired-at"
READY_SECONDS = 20.0
AT_MOST = 2
"""Champion and challenger; a third model means that somebody forgot to retire one."""


class KubernetesServing:
    """Implements `ServingBackend`; the cluster reconciles the objects.

    `routed(cancer, digest)`: whether any route still names the model; such a model is never removed.
    """

    def __init__(
        self,
        api: KubernetesApi,
        options: PodOptions,
        routed: Callable[[str, str], bool],
        names: Names | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._api = api
        self._options = options
        self._routed = routed
        self._names = names or Names()
        self._wall = wall

    def placed(self, cancer: str) -> list[str]:
        return [digest for digest, found in self._deployments(cancer).items() if not _retired_at(found)]

    def place(self, cancer: str, digest: str, keep: str | None = None) -> str:
        """Create what is missing, roll out what has changed, take back a model that was being drained.

        Returns the workload's name.

        Raises:
            PlacementError: two models are placed already and `keep` is neither of them.
            RoutingUnavailable: the API does not answer. RouteRejected: it refuses the objects.
        """
        name = workload(cancer, digest)
        wanted = manifests.deployment(self._names, cancer, digest, self._options)
        held = self._api.get(self._names.deployment(name))
        if held is None:
            others = [other for other in self.placed(cancer) if other != digest]
            if len(others) >= AT_MOST and keep not in others:
                raise PlacementError(
                    f"{cancer}: {len(others)} models are placed and the champion to keep is none of them; "
                    "name the champion, or retire the model that is no longer needed"
                )
            if len(others) >= AT_MOST:
                for other in others:
                    if other != keep:
                        self.retire(cancer, other)
            self._create(self._names.deployment(name), wanted)
        elif _retired_at(held) or _written(held) != _written(wanted):
            annotations = {**wanted["metadata"]["annotations"], RETIRED: None}
            change = {"metadata": {"annotations": annotations}, "spec": wanted["spec"]}
            self._api.patch(self._names.deployment(name), change)
        self._create(self._names.service(name), manifests.service(self._names, cancer, digest))
        self._create(self._names.disruption_budget(name), manifests.disruption_budget(self._names, cancer, digest))
        autoscaler = manifests.autoscaler(self._names, cancer, digest, self._options)
        if autoscaler:
            self._create(self._names.autoscaler(name), autoscaler)
        return name

    def retire(self, cancer: str, digest: str) -> None:
        """Not while a route names it; marked first, and removed once it has been out of every route for `DRAIN_S`."""
        path = self._names.deployment(workload(cancer, digest))
        held = self._api.get(path)
        if held is None:
            return
        if self._routed(cancer, digest):
            if _retired_at(held):
                self._api.patch(path, {"metadata": {"annotations": {RETIRED: None}}})
            return
        now = self._wall()
        if not _retired_at(held):
            self._api.patch(path, {"metadata": {"annotations": {RETIRED: f"{now:.3f}"}}})
        elif now - _retired_at(held) >= manifests.DRAIN_S:
            names = self._names
            for remove in (names.autoscaler, names.disruption_budget, names.service, names.deployment):
                self._api.delete(remove(workload(cancer, digest)))

    def finish_retiring(self) -> None:
        for found in self._select(f"app.kubernetes.io/name={manifests.APPLICATION}"):
            if _retired_at(found):
                self.retire(found["metadata"]["labels"][CANCER_LABEL], found["metadata"]["annotations"][DIGEST])

    def await_ready(self, cancer: str, digest: str) -> None:
        """Return when a pod answers for the model: its readiness probe asks for this very digest.

        Raises:
            RoutingUnavailable: not placed, or not ready within `READY_SECONDS`; the message holds the cluster's reason.
        """
        path = self._names.deployment(workload(cancer, digest))
        deadline = time.monotonic() + READY_SECONDS
        while True:
            held = self._api.get(path)
            if not held:
                raise RoutingUnavailable(f"{cancer}: model {digest[:12]} has no Deployment; place it before routing")
            if _ready(held):
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise RoutingUnavailable(f"{cancer}: model {digest[:12]} is not ready: {_reason(held)}")
            for state in self._api.watch(path, held["metadata"]["resourceVersion"], max(1, min(10, round(left)))):
                if not state or _ready(state) or time.monotonic() >= deadline:
                    break

    def _deployments(self, cancer: str) -> dict[str, Document]:
        """By digest, oldest first."""
        items = sorted(
            self._select(f"{CANCER_LABEL}={cancer}"), key=lambda item: item["metadata"].get("creationTimestamp", "")
        )
        return {item["metadata"]["annotations"][DIGEST]: item for item in items}

    def _select(self, label: str) -> list[Document]:
        return self._api.select(self._names.deployment("").rstrip("/"), label)

    def _create(self, path: str, body: Document) -> None:
        if self._api.get(path) is None:
            try:
                self._api.create(path, body)
            except LostRace:
                return  # somebody else was first with the same object


def _retired_at(deployment: Document) -> float:
    return float(deployment["metadata"].get("annotations", {}).get(RETIRED, 0))


def _written(deployment: Document) -> str:
    return deployment["metadata"]["annotations"].get(WRITTEN, "")


def _ready(deployment: Document) -> bool:
    """A retired model is not ready for new routes, although it still answers."""
    status = deployment.get("status", {})
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    return current and status.get("readyReplicas", 0) > 0 and not _retired_at(deployment)


def _reason(deployment: Document) -> str:
    if _retired_at(deployment):
        return "it is being drained"
    conditions = deployment.get("status", {}).get("conditions", [])
    bad = [f"{c.get('reason', '')}: {c.get('message', '')}" for c in conditions if c.get("status") != "True"]
    return "; ".join(bad) or "no pod has passed its readiness probe"
