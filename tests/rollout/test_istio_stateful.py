"""A rollout through Istio under crashes, conflicts, outages, other hands and ticks at once, in any order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from clinical_assets.rollout.routing import RouteConflict
from clinical_assets.serving.istio import router as router_module
from clinical_assets.serving.istio.reading import declared
from clinical_assets.serving.istio.routes import positions, require_whole_shares
from clinical_assets.serving.kubernetes import backend
from tests.kubernetes_double.api import ApiDouble, Request
from tests.kubernetes_double.cluster import Cluster
from tests.kubernetes_double.documents import Document
from tests.kubernetes_double.server import ApiServer

from .conftest import CANCER, CHALLENGER, CHAMPION
from .schedules import LIMIT_S, Schedule, run_schedules, world_in_ramp

OURS = "clinical-rollout"


def of_ours(request: Request) -> bool:
    return request.query.get("fieldManager") == OURS and "/virtualservices/" in request.path


class IstioSchedule(Schedule):
    server: ApiServer

    def set_up(self) -> None:
        self.cluster = Cluster(self.server, self.world.engine)
        self.cluster.allow_recreation()
        for digest in (CHAMPION, CHALLENGER):
            self.cluster.serving().place(CANCER, digest)
        self.theirs: list[Document] = []
        self.cluster.api.after_write = self.judge

    def router(self) -> Any:
        return self.cluster.router(self.world.authority, recreate=True)

    def write_points(self, router: Any) -> list[tuple[Any, tuple[str, ...]]]:
        return [(router._api, ("patch", "create")), (router._snapshots, ("save",))]

    def judge(self, request: Request, before: Document | None, after: Document) -> None:
        """Every write of ours to the routes, whatever led to it."""
        if not of_ours(request):
            return
        http = after["spec"]["http"]
        require_whole_shares([http[index] for index in positions(CANCER, http)])
        route = declared(CANCER, after, self.cluster.names)
        try:
            had = declared(CANCER, before, self.cluster.names)
        except RouteConflict:
            had = None
        self.gained(had.verified.weight if had else 0, route.state.weight if route else 0)

    def edit(self, share: int) -> None:
        if self.cluster.names.virtual_service not in self.cluster.api.objects:
            return
        if len(self.cluster.split(CANCER)[1].get("route", [])) == 2:
            self.cluster.edit_weights(CANCER, 100 - share, share)

    def delete(self) -> None:
        if self.cluster.names.virtual_service in self.cluster.api.objects:
            self.cluster.delete_routes()
            self.theirs.clear()

    def before_our_next_write(self, act: Callable[[], None]) -> None:
        late = [act]

        def write(request: Request) -> None:
            if late and of_ours(request):
                late.pop()()

        self.cluster.api.before_write = write

    def repair(self) -> None:
        self.cluster.api.outage, self.cluster.proxies.down, self.cluster.proxies.frozen = "", False, None

    @rule(times=st.integers(1, 8))
    def a_busy_neighbour(self, times: int) -> None:
        """Puts routes of its own in front of ours just before our next writes."""
        left = [times]

        def write(request: Request) -> None:
            path = self.cluster.names.virtual_service
            ours = request.query.get("fieldManager") == OURS and request.path == path
            if ours and left[0] and path in self.cluster.api.objects:
                left[0] -= 1
                self.theirs.append({"name": f"neighbour-{len(self.theirs)}", "directResponse": {"status": 204}})
                steps = [{"op": "add", "path": "/spec/http/0", "value": self.theirs[-1]}]
                self.cluster.write("PATCH", path, steps, "neighbour")

        self.cluster.api.before_write = write

    @rule(kind=st.sampled_from(["", "refuse", "503", "lost_answer"]))
    def api_outage(self, kind: str) -> None:
        self.cluster.api.outage = kind

    @rule(down=st.booleans())
    def proxies_outage(self, down: bool) -> None:
        self.cluster.proxies.down = down

    @rule(down=st.booleans())
    def istiod_outage(self, down: bool) -> None:
        if down:
            self.cluster.proxies.freeze()
        else:
            self.cluster.proxies.frozen = None

    @invariant()
    def the_neighbours_routes_survive(self) -> None:
        if self.cluster.names.virtual_service in self.cluster.api.objects:
            assert [entry for entry in self.theirs if entry not in self.cluster.http()] == []


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    running = ApiServer(ApiDouble())
    yield running
    running.stop()


@pytest.mark.timeout(LIMIT_S)
def test_nothing_goes_wrong_in_any_order(
    server: ApiServer, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(router_module, "CONFIRM_SECONDS", 0.05)
    monkeypatch.setattr(router_module, "BACKOFF_S", 0.001)
    monkeypatch.setattr(backend, "READY_SECONDS", 0.05)
    IstioSchedule.server, IstioSchedule.before = server, world_in_ramp(tmp_path_factory.mktemp("ramp"))
    run_schedules(IstioSchedule)
