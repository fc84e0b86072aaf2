"""A rollout through Istio under crashes, conflicts, outages, other hands and ticks at once, in any order."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout import stages
from clinical_assets.rollout.entries import StaleLease
from clinical_assets.rollout.evidence_log import EvidenceLog
from clinical_assets.rollout.routing import RouteConflict, RoutingError
from clinical_assets.serving.istio import router as router_module
from clinical_assets.serving.istio.reading import declared
from clinical_assets.serving.istio.routes import positions, require_whole_shares
from clinical_assets.serving.kubernetes import backend
from tests.kubernetes_double.api import ApiDouble, Request
from tests.kubernetes_double.cluster import Cluster
from tests.kubernetes_double.documents import Document
from tests.kubernetes_double.server import ApiServer

from .conftest import CANCER, CHALLENGER, CHAMPION, DAY, World

LEDGER_WRITES = ("begin_intent", "renew_lease", "advance_intent", "append_transition", "acquire_lease")
OURS = "clinical-rollout"


class Killed(BaseException):
    """The process is gone: nothing that it would still do happens."""


class DoomedProcess:
    """After the k-th write nothing of this world's process takes effect any more, the release of its lease included."""

    def __init__(self, world: World, k: int, after: bool) -> None:
        self.left, self.after, self.dead = k, after, False
        for owner, names in ((world.ledger, (*LEDGER_WRITES, "release_lease")), (world.router, ("apply", "read"))):
            for name in names:
                self._wrap(owner, name)

    def _wrap(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.left -= name != "read"
            last = self.left == 0 and name != "read"
            self.dead |= last and not self.after
            if self.dead:
                raise Killed
            result = original(*args, **kwargs)
            self.dead |= last
            if self.dead:
                raise Killed
            return result

        setattr(owner, name, call)


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    running = ApiServer(ApiDouble())
    yield running
    running.stop()


@pytest.fixture(scope="module")
def in_ramp(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A rollout at 5 %, from which every example starts."""
    directory = tmp_path_factory.mktemp("ramp")
    world = World(directory)
    world.to_ramp()
    world.engine.dispose()
    return world


class Rollout(RuleBasedStateMachine):
    server: ApiServer
    before: World

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rollout-"))
        shutil.copytree(self.before.directory, self.directory, dirs_exist_ok=True)
        world = self.world = World(self.directory)
        world.wall.at, world.clock.at, world.patients = self.before.wall.at, self.before.clock.at, self.before.patients
        world.plan, world.rollout_id = self.before.plan, self.before.rollout_id
        world.telemetry.counters = {digest: list(counts) for digest, counts in self.before.telemetry.counters.items()}
        self.cluster = Cluster(self.server, world.engine)
        self.cluster.allow_recreation()
        for digest in (CHAMPION, CHALLENGER):
            self.cluster.serving().place(CANCER, digest)
        world.router = self.router()
        world.router.apply(stages.route(world.plan, world.rollout_id, "5"), world.wall.at)
        self.violations: list[str] = []
        self.theirs: list[Document] = []
        self.cluster.api.after_write = self.judge

    def router(self) -> Any:
        return self.cluster.router(self.world.authority, recreate=True)

    def judge(self, request: Request, before: Document | None, after: Document) -> None:
        """Every write of ours to the routes, whatever led to it."""
        if request.query.get("fieldManager") != OURS or "/virtualservices/" not in request.path:
            return
        http = after["spec"]["http"]
        require_whole_shares([http[index] for index in positions(CANCER, http)])
        route = declared(CANCER, after, self.cluster.names)
        try:
            had = declared(CANCER, before, self.cluster.names)
        except RouteConflict:
            had = None
        gained = route is not None and route.state.weight > (had.verified.weight if had else 0)
        granted = self.world.authority.scopes.get(CHALLENGER, Scope.NONE)
        if gained and not granted.covers(Scope.TRAFFIC):
            self.violations.append(f"challenger raised to {route.state.weight} % without a verdict")

    @rule()
    def tick(self) -> None:
        self.world.tick()

    @rule(seconds=st.sampled_from([16.0, 130.0, 700.0]))
    def later(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule()
    def a_day_of_patients(self) -> None:
        if self.reachable():
            self.world.treat(40)
            self.world.telemetry.add(CHALLENGER, 25)
        self.world.clock.at += DAY

    @rule(k=st.integers(1, 7), after=st.booleans())
    def killed_in_a_tick(self, k: int, after: bool) -> None:
        world = self.world
        ledger, router = world.ledger, world.router
        world.ledger = type(ledger)(world.engine, world.wall)
        world.router = self.router()
        DoomedProcess(world, k, after)
        try:
            world.tick()
        except Killed:
            pass
        finally:
            world.ledger, world.router = ledger, router

    @rule()
    def ticks_at_once(self) -> None:
        together = threading.Barrier(2)

        def one(name: str) -> None:
            together.wait()
            self.world.tick(0.0, holder=name, router=self.router())

        threads = [threading.Thread(target=one, args=(f"holder-{i}",)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

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

    @precondition(lambda self: self.world.ledger.progress(self.world.rollout_id).is_open)
    @rule()
    def overtaken_while_writing(self) -> None:
        """A tick hangs in its write for longer than its lease, and a person rolls back meanwhile."""
        self.hand_edit(33)  # which the tick would put right
        late = [True]

        def write(request: Request) -> None:
            if late and request.query.get("fieldManager") == OURS and "/virtualservices/" in request.path:
                late.clear()
                self.world.wall.at += 16
                self.world.roll_back()

        self.cluster.api.before_write = write
        with suppress(StaleLease):
            self.world.tick()
        self.cluster.api.before_write = None

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

    @rule(share=st.integers(1, 99))
    def hand_edit(self, share: int) -> None:
        if self.cluster.names.virtual_service not in self.cluster.api.objects:
            return
        if len(self.cluster.split(CANCER)[1]["route"]) == 2:
            self.cluster.edit_weights(CANCER, 100 - share, share)

    @rule()
    def hand_deletes(self) -> None:
        if self.cluster.names.virtual_service in self.cluster.api.objects:
            self.cluster.delete_routes()
            self.theirs.clear()

    @rule(granted=st.booleans())
    def verdict(self, granted: bool) -> None:
        self.world.authority.scopes[CHALLENGER] = Scope.TRAFFIC if granted else Scope.NONE

    @rule()
    def errors(self) -> None:
        self.world.telemetry.add(CHALLENGER, 60, 40)

    @rule(there=st.booleans())
    def telemetry(self, there: bool) -> None:
        self.world.telemetry.missing = "" if there else "Prometheus does not answer"

    @precondition(lambda self: self.world.ledger.progress(self.world.rollout_id).is_open)
    @rule()
    def a_person_rolls_back(self) -> None:
        self.world.wall.at += 16
        self.world.roll_back()

    @invariant()
    def nothing_forbidden_was_written(self) -> None:
        assert self.violations == []

    @invariant()
    def no_step_is_taken_twice_or_skipped(self) -> None:
        rows = [row.transition for row in self.world.rows()]
        intents = [row.intent_id for row in rows if row.intent_id]
        assert len(intents) == len(set(intents))
        path = stages.path(self.world.plan)
        for one, other in pairwise(rows):
            if other.action in ("ADVANCE", "PROMOTE"):
                assert path.index(other.stage) == path.index(one.stage) + 1
        assert len(self.world.ledger.pending_intents(CANCER)) <= 1
        assert [row.stage for row in rows].count(stages.ROLLED_BACK) <= 1

    @invariant()
    def the_neighbours_routes_survive(self) -> None:
        if self.cluster.names.virtual_service in self.cluster.api.objects:
            assert [entry for entry in self.theirs if entry not in self.cluster.http()] == []

    @invariant()
    def the_chains_hold(self) -> None:
        assert self.world.ledger.verify_chain().ok

    def reachable(self) -> bool:
        try:
            return self.world.router.read(CANCER) is not None
        except RoutingError:
            return False

    def teardown(self) -> None:
        """Everything works again: within a few ticks the route is what the ledger intends, without a person."""
        if not hasattr(self, "cluster"):
            return
        api, proxies, world = self.cluster.api, self.cluster.proxies, self.world
        api.outage, api.before_write, proxies.down, proxies.frozen = "", None, False, None
        granted = world.authority.scopes[CHALLENGER].covers(Scope.TRAFFIC)
        for _ in range(6):
            world.tick(700.0)  # leases have ended, and so has the pause after a fight
        progress = world.ledger.progress(world.rollout_id)
        assert world.ledger.pending_intents(CANCER) == []
        if progress.is_open:
            assert granted
            assert world.router.read(CANCER) == stages.route(world.plan, world.rollout_id, progress.stage)
        elif progress.stage == stages.ROLLED_BACK:
            left = declared(CANCER, api.objects.get(self.cluster.names.virtual_service), self.cluster.names)
            assert left is None or CHALLENGER not in left.state.weights
        assert granted or progress.stage == stages.ROLLED_BACK
        log = EvidenceLog(world.engine)
        assert log.replay(world.rollout_id, world.plan) == log.current(world.rollout_id, world.plan)
        world.engine.dispose()
        shutil.rmtree(self.directory, ignore_errors=True)


def test_nothing_goes_wrong_in_any_order(server: ApiServer, in_ramp: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "CONFIRM_SECONDS", 0.05)
    monkeypatch.setattr(router_module, "BACKOFF_S", 0.001)
    monkeypatch.setattr(backend, "READY_SECONDS", 0.05)
    Rollout.server, Rollout.before = server, in_ramp
    run_state_machine_as_test(
        Rollout,
        settings=settings(
            max_examples=5, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
