"""Random schedules of crashes, conflicts, outages, other hands and ticks at once, and what must hold after each.

A few run in the ordinary suite. `HYPOTHESIS_PROFILE=thorough` runs 1,000 for each data plane.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

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
from sqlalchemy import select

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout import stages
from clinical_assets.rollout.entries import StaleLease
from clinical_assets.rollout.evidence_log import EvidenceLog
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.rollout.routing import RoutingError
from clinical_assets.rollout.tables import predictions

from .conftest import CANCER, CHALLENGER, DAY, World

LEDGER_WRITES = ("begin_intent", "renew_lease", "advance_intent", "append_transition", "acquire_lease")
THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SCHEDULES = int(os.environ.get("CLINICAL_SCHEDULES", "1000" if THOROUGH else "5"))


class Killed(BaseException):
    """The process is gone: nothing that it would still do happens."""


class DoomedProcess:
    """After the k-th write nothing of this world's process takes effect any more, the release of its lease included.

    `inner`: where the router itself writes, as (owner, names).
    """

    def __init__(self, world: World, k: int, after: bool, inner: list[tuple[Any, tuple[str, ...]]]) -> None:
        self.left, self.after, self.dead = k, after, False
        outer = [(world.ledger, (*LEDGER_WRITES, "release_lease")), (world.router, ("apply", "read"))]
        for owner, names in (*outer, *inner):
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

        object.__setattr__(owner, name, call)


def world_in_ramp(directory: Path) -> World:
    """A rollout at 5 %, from which every schedule starts; its margin is wide, so that few patients prove it."""
    world = World(directory)
    policy = RolloutPolicy(min_requests=20, dwell_days=1.0, watch_days=2.0, margin_fraction=0.9, min_shadow_pairs=50)
    world.plan = world.plan.model_copy(update={"policy": policy})
    world.open()
    world.until("shadow")
    for _ in range(8):
        world.treat(60)
        if world.tick().stage == "5":
            world.engine.dispose()
            return world
    raise AssertionError("non-inferiority was not proven")


class Schedule(RuleBasedStateMachine):
    """What every data plane must stand. A subclass brings the plane, its outages and the hands of others."""

    before: World

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="rollout-"))
        shutil.copytree(self.before.directory, self.directory, dirs_exist_ok=True)
        world = self.world = World(self.directory)
        world.wall.at, world.clock.at, world.patients = self.before.wall.at, self.before.clock.at, self.before.patients
        world.plan, world.rollout_id = self.before.plan, self.before.rollout_id
        world.telemetry.counters = {digest: list(counts) for digest, counts in self.before.telemetry.counters.items()}
        self.acknowledged: set[str] = set()
        self.violations: list[str] = []
        self.set_up()
        world.router = self.router()
        world.router.apply(stages.route(world.plan, world.rollout_id, "5"), world.wall.at)

    def set_up(self) -> None:
        """Bring the data plane to its beginning."""
        raise NotImplementedError

    def router(self) -> Any:
        """A router as another process would make it."""
        raise NotImplementedError

    def write_points(self, router: Any) -> list[tuple[Any, tuple[str, ...]]]:
        raise NotImplementedError

    def edit(self, share: int) -> None:
        """Another hand gives the challenger `share` per cent, if there is a split."""
        raise NotImplementedError

    def delete(self) -> None:
        """Another hand deletes our routes."""
        raise NotImplementedError

    def before_our_next_write(self, act: Callable[[], None]) -> None:
        """`act` once, just before the routes are written the next time."""
        raise NotImplementedError

    def repair(self) -> None:
        """Every outage ends."""
        raise NotImplementedError

    def gained(self, had: int, weight: int) -> None:
        """To be told of every write of ours: the challenger's verified share before, and the share written."""
        granted = self.world.authority.scopes.get(CHALLENGER, Scope.NONE)
        if weight > had and not granted.covers(Scope.TRAFFIC):
            self.violations.append(f"challenger raised from {had} to {weight} % without a verdict")

    @rule()
    def tick(self) -> None:
        self.world.tick()

    @rule(seconds=st.sampled_from([16.0, 130.0, 700.0]))
    def later(self, seconds: float) -> None:
        self.world.tick(seconds)

    @rule(days=st.integers(1, 2))
    def days_of_patients(self, days: int) -> None:
        if self.reachable():
            self.acknowledged.update(self.world.treat(40))
            self.world.telemetry.add(CHALLENGER, 25)
        self.world.clock.at += days * DAY

    @rule(k=st.integers(1, 12), after=st.booleans())
    def killed_in_a_tick(self, k: int, after: bool) -> None:
        world = self.world
        ledger, router = world.ledger, world.router
        world.ledger, world.router = type(ledger)(world.engine, world.wall), self.router()
        DoomedProcess(world, k, after, self.write_points(world.router))
        try:
            world.tick()
        except Killed:
            pass
        finally:
            world.ledger, world.router = ledger, router

    @rule()
    def ticks_at_once(self) -> None:
        together = threading.Barrier(2)
        failed: list[BaseException] = []

        def one(name: str) -> None:
            together.wait()
            try:
                self.world.tick(0.0, holder=name, router=self.router())
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=one, args=(f"holder-{i}",)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []

    @precondition(lambda self: self.open())
    @rule()
    def overtaken_while_writing(self) -> None:
        """A tick hangs in its write for longer than its lease, and a person rolls back meanwhile."""
        self.edit(33)  # which the tick would put right

        def person() -> None:
            self.world.wall.at += 16
            self.world.roll_back()

        self.before_our_next_write(person)
        with suppress(StaleLease):
            self.world.tick()
        self.before_our_next_write(lambda: None)

    @rule(share=st.integers(1, 99))
    def hand_edit(self, share: int) -> None:
        self.edit(share)

    @rule()
    def hand_deletes(self) -> None:
        self.delete()

    @rule(granted=st.booleans())
    def verdict(self, granted: bool) -> None:
        self.world.authority.scopes[CHALLENGER] = Scope.TRAFFIC if granted else Scope.NONE

    @rule()
    def approval(self) -> None:
        self.world.authority.approved_by = "dr_curie"

    @rule()
    def errors(self) -> None:
        self.world.telemetry.add(CHALLENGER, 60, 40)

    @rule(there=st.booleans())
    def telemetry(self, there: bool) -> None:
        self.world.telemetry.missing = "" if there else "Prometheus does not answer"

    @precondition(lambda self: self.open())
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

    def open(self) -> bool:
        return self.world.ledger.progress(self.world.rollout_id).is_open

    def reachable(self) -> bool:
        try:
            return self.world.router.read(CANCER) is not None
        except RoutingError:
            return False

    def teardown(self) -> None:
        """Everything works again: within a few ticks the route is what the ledger intends, without a person."""
        if not hasattr(self, "acknowledged"):
            return
        world = self.world
        self.repair()
        self.before_our_next_write(lambda: None)
        granted = world.authority.scopes[CHALLENGER].covers(Scope.TRAFFIC)
        for _ in range(6):
            world.tick(700.0)  # leases have ended, and so has the pause after a fight
        progress = world.ledger.progress(world.rollout_id)
        assert world.ledger.pending_intents(CANCER) == []
        served = world.router.read(CANCER)
        if progress.is_open:
            assert granted
            assert served == stages.route(world.plan, world.rollout_id, progress.stage)
        elif progress.stage == stages.ROLLED_BACK:
            assert served is None or CHALLENGER not in served.weights
        assert granted or progress.stage in stages.CLOSED
        with world.engine.connect() as connection:
            kept = set(connection.execute(select(predictions.c.request_id)).scalars())
        assert self.acknowledged <= kept, "nothing is lost from the log"
        assert world.ledger.verify_chain().ok
        log = EvidenceLog(world.engine)
        assert log.verify_chain().ok
        assert log.replay(world.rollout_id, world.plan) == log.current(world.rollout_id, world.plan)
        world.engine.dispose()
        shutil.rmtree(self.directory, ignore_errors=True)


LIMIT_S = 0 if SCHEDULES > 5 else 300
"""No time limit for many schedules."""


def run_schedules(machine: type[Schedule]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SCHEDULES, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
