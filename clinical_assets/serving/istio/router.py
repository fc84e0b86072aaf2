"""The `TrafficRouter` of a cluster: edits our entries of one VirtualService and believes the gateway's proxies only.

A change is: subsets and stickiness, seen in the proxies -> routes, seen in the proxies -> subsets that nobody needs,
removed. So no request meets a route without a cluster, and a rollback is one write.
"""

from __future__ import annotations

import random
import time
from typing import Any, Protocol

from clinical_assets.rollout.routing import (
    AppliedRoute,
    Authority,
    Hold,
    RouteConflict,
    RouteRejected,
    RouteState,
    RoutingError,
    RoutingUnavailable,
    guard,
    unfenced,
)
from clinical_assets.serving.confirming import confirmed
from clinical_assets.serving.istio import routes
from clinical_assets.serving.istio.patching import operations, replacing, unless_changed
from clinical_assets.serving.istio.proxies import Proxies, served_by_all
from clinical_assets.serving.istio.reading import current_for, declared, last_writer
from clinical_assets.serving.istio.snapshots import Snapshots
from clinical_assets.serving.kubernetes.api import Document, KubernetesApi, LostRace
from clinical_assets.serving.kubernetes.names import ANSWERS_PORT, COPIES_PORT, Names, is_our_subset
from clinical_assets.serving.observing import Observed, retreats

ATTEMPTS = 6
BACKOFF_S = 0.05
CONFIRM_SECONDS = 3.0
PAUSE_S = 0.02
VERSION_BASE = "clinical-assets/version-base"
"""Annotation of a recreated object: its versions go on where those of the deleted one ended."""


class Readiness(Protocol):
    """The part of the serving back end that a router asks."""

    def await_ready(self, cancer: str, digest: str) -> None:
        """Return when the model can answer. Raises RoutingUnavailable with the reason why it cannot."""
        ...


class IstioRouter:
    """With `recreate`, a route that was deleted comes back from its snapshot, with the challenger at 0."""

    def __init__(
        self,
        api: KubernetesApi,
        proxies: Proxies,
        authority: Authority,
        models: Readiness,
        snapshots: Snapshots,
        names: Names | None = None,
        recreate: bool = False,
    ) -> None:
        self.recreate = recreate
        self.names = names or Names()
        self._api = api
        self._proxies = proxies
        self._authority = authority
        self._models = models
        self._snapshots = snapshots

    def read(self, cancer: str) -> RouteState | None:
        """The route that every proxy serves now.

        Raises:
            RoutingUnavailable: a proxy does not answer, or the proxies differ for longer than a change takes.
            RouteConflict: something in our route is not ours; the message names it and who wrote it.
        """
        found: list[Observed | None] = []

        def agreed() -> bool:
            found[:] = [served_by_all(cancer, self._proxies.routes(), self.names)]
            return True

        try:
            confirmed(agreed, CONFIRM_SECONDS, PAUSE_S)
        except RouteConflict as error:
            writer = self.last_writer(cancer)
            raise RouteConflict(f"{error}{f' (last written by {writer})' if writer else ''}") from error
        return found[0].state if found[0] else None

    def last_writer(self, cancer: str) -> str:
        """Field manager of the latest write to the routes, "" if it was the platform or cannot be told."""
        try:
            return last_writer(self._api.get(self.names.virtual_service))
        except RoutingUnavailable:
            return ""

    def confirm(self, cancer: str, version: int, timeout: float) -> bool:
        held = self._api.get(self.names.virtual_service)
        if held is None or _version(held) < version:
            return False
        wanted = declared(cancer, held, self.names)
        try:
            return confirmed(lambda: self._serve(cancer, wanted), timeout, PAUSE_S)
        except RoutingUnavailable:
            return False

    def apply(self, route: RouteState, now: float, still_ours: Hold = unfenced) -> AppliedRoute:
        """Make `route` true and see it in every proxy.

        A lost race is run again from the start, with the other writer's change in place. A route that takes exposure
        away is written even while no proxy answers.

        Raises:
            RouteConflict, RoutingUnavailable, RouteRejected, and whatever the authority raises.
        """
        held = self._write_against_others(route, now, still_ours)
        wanted = declared(route.cancer, held, self.names)
        if not confirmed(lambda: self._serve(route.cancer, wanted), CONFIRM_SECONDS, PAUSE_S):
            raise RoutingUnavailable(f"{route.cancer}: the gateway's proxies did not take up the route; is istiod up?")
        self._remove_subsets(route)
        version = _version(held)
        self._snapshots.save(self.names.virtual_service, version, held)
        return AppliedRoute(version, time.time())

    def _write_against_others(self, route: RouteState, now: float, still_ours: Hold) -> Document:
        """`_write` until it wins, a bounded number of times; the pauses are random, so that two writers part."""
        versions: list[str] = []
        lost: LostRace | None = None
        for attempt in range(ATTEMPTS):
            try:
                return self._write(route, now, still_ours, versions)
            except LostRace as race:
                lost = race
                time.sleep(random.uniform(0, BACKOFF_S * 2**attempt))
        if len(set(versions)) == 1:
            raise RouteRejected(f"{route.cancer}: the API refuses the route: {lost}") from lost
        writer = self.last_writer(route.cancer) or "another writer"
        raise RouteConflict(f"{route.cancer}: {writer} changed the routes {ATTEMPTS} times meanwhile") from lost

    def _write(self, route: RouteState, now: float, still_ours: Hold, versions: list[str]) -> Document:
        """One attempt; the VirtualService as it stands afterwards. `versions` collects what was found."""
        held = self._api.get(self.names.virtual_service)
        versions.append(held["metadata"]["resourceVersion"] if held else "")
        current = current_for(route, held, self.names)
        guard(route, current.verified if current else None, self._authority, now)
        if current is None or not retreats(route, current.state):
            for digest in route.weights:
                self._models.await_ready(route.cancer, digest)
            self._add_subsets(route)
        wanted = routes.routes_for(route, self.names)
        still_ours()
        if held is None:
            return self._recreate(route, wanted)
        steps = unless_changed(held, _steps(route.cancer, held["spec"].get("http") or [], wanted))
        return self._api.patch(self.names.virtual_service, steps) if steps else held

    def _recreate(self, route: RouteState, wanted: list[routes.Entry]) -> Document:
        """The deleted object with everybody's entries, as last confirmed, and our own as wanted now."""
        kept = self._snapshots.latest(self.names.virtual_service)
        if kept is None:
            raise RouteConflict(
                f"{route.cancer}: there is no VirtualService {self.names.routes} in {self.names.namespace}; "
                "install deploy/kubernetes first"
            )
        version, document = kept
        http = document["spec"].get("http") or []
        ours = routes.positions(route.cancer, http)
        first = min(ours, default=0)
        rest = [entry for index, entry in enumerate(http) if index not in ours]
        document["spec"]["http"] = [*rest[:first], *wanted, *rest[first:]]
        document["metadata"].setdefault("annotations", {})[VERSION_BASE] = str(version)
        return self._api.create(self.names.virtual_service, document)

    def _add_subsets(self, route: RouteState) -> None:
        """Clusters and stickiness first, and seen in every proxy."""
        rule = self._require(self.names.destination_rule)
        present = {entry["name"] for entry in rule["spec"].get("subsets") or []}
        missing = [entry for entry in routes.subsets_for(route) if entry["name"] not in present]
        self._append(self.names.destination_rule, rule, "subsets", missing)
        patch = routes.sticky_patch(route.cancer)
        sticky = self._require(self.names.envoy_filter)
        if patch not in (sticky["spec"].get("configPatches") or []):
            self._append(self.names.envoy_filter, sticky, "configPatches", [patch])
        ports = (ANSWERS_PORT, COPIES_PORT)
        needed = {self.names.cluster(e["name"], port) for e in routes.subsets_for(route) for port in ports}
        if not confirmed(
            lambda: all(needed <= had for had in self._proxies.clusters().values()), CONFIRM_SECONDS, PAUSE_S
        ):
            named = ", ".join(sorted(needed))
            raise RoutingUnavailable(f"{route.cancer}: the gateway's proxies did not take up the clusters {named}")

    def _remove_subsets(self, route: RouteState) -> None:
        """A lost race or an outage leaves a subset without traffic, which the next change takes away."""
        needed = {entry["name"] for entry in routes.subsets_for(route)}
        try:
            rule = self._require(self.names.destination_rule)
            found = [entry["name"] for entry in rule["spec"].get("subsets") or []]
            spare = [i for i, name in enumerate(found) if is_our_subset(route.cancer, name) and name not in needed]
            if spare:
                steps = replacing("/spec/subsets", spare, [])
                self._api.patch(self.names.destination_rule, unless_changed(rule, steps))
        except RoutingError:
            return

    def _append(self, path: str, document: Document, field: str, entries: list[routes.Entry]) -> None:
        if not entries:
            return
        held = document["spec"].get(field)
        steps = [{"op": "add", "path": f"/spec/{field}/-", "value": entry} for entry in entries]
        if held is None:
            steps = [{"op": "add", "path": f"/spec/{field}", "value": entries}]
        self._api.patch(path, unless_changed(document, steps))

    def _require(self, path: str) -> Document:
        found = self._api.get(path)
        if found is None:
            raise RouteConflict(f"{path} is missing in the cluster; install deploy/kubernetes first")
        return found

    def _serve(self, cancer: str, wanted: Observed | None) -> bool:
        try:
            return served_by_all(cancer, self._proxies.routes(), self.names) == wanted
        except RouteConflict:
            return False  # what the proxies had before


def _steps(cancer: str, http: list[routes.Entry], wanted: list[routes.Entry]) -> list[dict[str, Any]]:
    """A JSON patch of our entries alone; between two splits it touches the weights and the header that states them."""
    ours = routes.positions(cancer, http)
    if [http[index]["name"] for index in ours] != [entry["name"] for entry in wanted]:
        return replacing("/spec/http", ours, wanted)
    pairs = zip(ours, wanted, strict=True)
    return [step for index, entry in pairs for step in operations(http[index], entry, f"/spec/http/{index}")]


def _version(virtual_service: Document) -> int:
    """The API server's count of changes to the specification, which never falls while the object lives."""
    found = virtual_service["metadata"]
    return int(found.get("annotations", {}).get(VERSION_BASE, 0)) + int(found["generation"])
