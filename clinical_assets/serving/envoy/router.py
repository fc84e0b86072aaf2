"""The local `TrafficRouter`: the single writer of Envoy's cluster and route files.

A change is: new clusters, confirmed -> routes, confirmed -> clusters that nobody needs any more, removed. So no
request ever meets a route without a cluster, and a refused update leaves the old routing in force.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from clinical_assets.rollout.routing import (
    AppliedRoute,
    Authority,
    Hold,
    RouteConflict,
    RouteRejected,
    RouteState,
    RoutingUnavailable,
    guard,
    unfenced,
)
from clinical_assets.serving.confirming import confirmed
from clinical_assets.serving.desired import DesiredState
from clinical_assets.serving.envoy.admin import EnvoyAdmin
from clinical_assets.serving.envoy.files import CLUSTERS, ROUTES, ConfigFile
from clinical_assets.serving.envoy.reading import by_cancer, current_for, observe, with_routes
from clinical_assets.serving.envoy.resources import cluster_name, clusters_for, is_our_cluster, port_of, routes_for
from clinical_assets.serving.locking import LockBusy, locked
from clinical_assets.serving.observing import retreats
from clinical_assets.serving.ports import PortError, Ports
from clinical_assets.serving.readiness import await_model

CONFIRM_SECONDS = 5.0
PAUSE_S = 0.002
MODEL_READY_SECONDS = 20.0
Resources = list[dict[str, Any]]


class EnvoyRouter:
    """Reads from Envoy's own dump, writes files, and returns only when Envoy reports the new version."""

    def __init__(self, dataplane: Path, authority: Authority, recreate: bool = False) -> None:
        """
        Args:
            dataplane: directory of the running supervisor; ports are read from it.
            authority: knows the signed decision records.
        """
        self.recreate = recreate
        self.dataplane = dataplane
        self.authority = authority
        self.desired = DesiredState(dataplane)
        self._clusters = ConfigFile(dataplane, CLUSTERS)
        self._routes = ConfigFile(dataplane, ROUTES)

    def read(self, cancer: str) -> RouteState | None:
        """The route that Envoy serves now.

        Raises:
            RoutingUnavailable: Envoy does not answer.
            RouteConflict: another writer put something into our route that is not ours.
        """
        observed = observe(cancer, self._admin().routes()[1])
        return observed.state if observed else None

    def read_many(self, cancers: Sequence[str]) -> dict[str, RouteState | None]:
        """See `rest.ManyRoutes`: one dump of Envoy's."""
        found: dict[str, RouteState | None] = {}
        try:
            configs = by_cancer(self._admin().routes()[1])
        except RoutingUnavailable:
            return found
        for cancer in cancers:
            with suppress(RouteConflict):
                observed = observe(cancer, configs.get(cancer, {}))
                found[cancer] = observed.state if observed else None
        return found

    def last_writer(self, cancer: str) -> str:
        """A file does not tell who wrote it."""
        return ""

    def confirm(self, cancer: str, version: int, timeout: float) -> bool:
        return confirmed(lambda: self._admin().routes()[0] >= version, timeout, PAUSE_S)

    def apply(self, route: RouteState, now: float, still_ours: Hold = unfenced) -> AppliedRoute:
        """Make `route` true and see it in Envoy's dump.

        A route that takes exposure away is written even while Envoy is down, so that Envoy comes back with it.

        Raises:
            RouteConflict, RoutingUnavailable, RouteRejected, and whatever the authority raises.
        """
        try:
            with locked(self.dataplane / "routes.lock", timeout=30):
                return self._apply(route, now, still_ours)
        except LockBusy as busy:
            raise RoutingUnavailable(f"{route.cancer}: {busy}; it writes routes for too long") from busy

    def _apply(self, route: RouteState, now: float, still_ours: Hold) -> AppliedRoute:
        try:
            version, live = self._admin().routes()
        except RoutingUnavailable:
            self._record_retreat(route, now, still_ours)
            raise
        current = current_for(route, live)
        guard(route, current.verified if current else None, self.authority, now)
        file_version, resources = self._read_routes(live)
        wanted = with_routes(route.cancer, resources, routes_for(route))
        if wanted == resources and current and current.state == route:  # Envoy takes no version without news
            return AppliedRoute(version, time.time())
        if current is None or not retreats(route, current.state):
            self._require_loaded(route)
        self._add_clusters(route)
        still_ours()
        version = max(file_version, version) + 1
        self._write(self._routes, version, wanted, resources, lambda: self._admin().routes()[0] >= version)
        self._remove_clusters(route)
        return AppliedRoute(version, time.time())

    def _record_retreat(self, route: RouteState, now: float, still_ours: Hold) -> None:
        """Envoy is down: leave the safer route for its return; anything that gains exposure is not written."""
        version, resources = self._read_routes({})
        current = current_for(route, resources[0] if resources else {})
        if current is None or not retreats(route, current.state):
            return
        guard(route, current.verified, self.authority, now)
        still_ours()
        wanted = with_routes(route.cancer, resources, routes_for(route))
        if wanted != resources:
            self._routes.write(version + 1, wanted)

    def _read_routes(self, live: dict[str, Any]) -> tuple[int, Resources]:
        """The route file; if another writer damaged it, what Envoy still serves (a rollback must stay possible)."""
        try:
            return self._routes.read()
        except RouteConflict:
            if not live:
                raise
            return 0, [live]

    def _require_loaded(self, route: RouteState) -> None:
        """A model may not get requests before its server holds it."""
        for digest in route.weights:
            await_model(self._port(route.cancer, digest), route.cancer, digest, MODEL_READY_SECONDS)

    def _add_clusters(self, route: RouteState) -> None:
        version, existing = self._clusters.read()
        needed = {cluster["name"]: cluster for cluster in clusters_for(route, lambda d: self._port(route.cancer, d))}
        merged = [needed.get(cluster["name"], cluster) for cluster in existing]
        merged += [cluster for name, cluster in needed.items() if name not in {old["name"] for old in existing}]
        admin = self._admin()
        if merged != existing:
            self._write(self._clusters, version + 1, merged, existing, lambda: admin.clusters_version() >= version + 1)
        ready = confirmed(
            lambda: needed.keys() <= admin.active_clusters().keys() - admin.warming_clusters(), CONFIRM_SECONDS, PAUSE_S
        )
        if not ready:
            raise RoutingUnavailable(f"{route.cancer}: Envoy did not take up the clusters within {CONFIRM_SECONDS:g} s")

    def _remove_clusters(self, route: RouteState) -> None:
        version, existing = self._clusters.read()
        needed = {cluster["name"] for cluster in clusters_for(route, lambda _: 0)}
        kept = [c for c in existing if c["name"] in needed or not is_our_cluster(route.cancer, c["name"])]
        if kept != existing:
            self._clusters.write(version + 1, kept)

    def _write(
        self, file: ConfigFile, version: int, resources: Resources, previous: Resources, seen: Callable[[], bool]
    ) -> None:
        """Write one file and wait until Envoy has taken or refused it; a refused file is taken back from disk, too,
        because a restarted Envoy would find nothing else."""
        admin = self._admin()
        refused_before = admin.rejected(file.kind)
        file.write(version, resources)
        outcome: list[str] = []

        def decided() -> bool:
            if seen():
                outcome.append("taken")
            elif admin.rejected(file.kind) > refused_before:
                outcome.append("refused")
            return bool(outcome)

        if not confirmed(decided, CONFIRM_SECONDS, PAUSE_S):
            raise RoutingUnavailable(
                f"Envoy did not confirm version {version} of its {file.kind} in {CONFIRM_SECONDS:g} s"
            )
        if outcome[0] == "refused":
            file.write(version + 1, previous)
            raise RouteRejected(
                f"Envoy refused version {version} of its {file.kind} and keeps the previous one; "
                f"the reason is in {self.dataplane / 'logs' / 'envoy.log'}"
            )

    def _port(self, cancer: str, digest: str) -> int:
        """Of the slot that holds the model; of its present cluster, if it was retired while it still answers."""
        if slot := self.desired.slot_of(cancer, digest):
            return getattr(self._ports(), slot)
        for cluster in self._clusters.read()[1]:
            if cluster["name"] == cluster_name(cancer, digest):
                return port_of(cluster)
        raise RouteConflict(f"{cancer}: model {digest[:12]} is in no server slot; place it before routing to it")

    def _ports(self) -> Ports:
        try:
            return Ports.recorded(self.dataplane)
        except PortError as error:
            raise RoutingUnavailable(str(error)) from error

    def _admin(self) -> EnvoyAdmin:
        return EnvoyAdmin(self._ports().admin)
