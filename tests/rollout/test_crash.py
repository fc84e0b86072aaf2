"""kill -9 at every write, and many ticks at once: one step, one row, one change of the route."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clinical_assets.foundation.database import engine_for
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.evidence_log import EvidenceLog
from clinical_assets.rollout.tick import TickStatus

from .conftest import CANCER, CHALLENGER, CHAMPION, World
from .data_plane import KilledAt

WRITES = ("begin_intent", "renew_lease", "advance_intent", "append_transition", "release_lease", "acquire_lease")
SPAWN = multiprocessing.get_context("fork")


def in_child(world: World, act: Callable[[], None]) -> int:
    """Run `act` in a forked process with its own database connections; its exit status, negative for a signal."""
    world.engine.dispose()
    child = SPAWN.Process(target=_isolated, args=(world, act))
    child.start()
    child.join(60)
    assert child.exitcode is not None
    return child.exitcode


def _isolated(world: World, act: Callable[[], None]) -> None:
    engine_for.cache_clear()
    world.engine.dispose()
    act()
    os._exit(0)


def ready_to(world: World, what: str) -> Callable[[], object]:
    """Bring the world before an advance, a rollback by evidence or one by a person; returns the call that does it."""
    world.open()
    world.until("shadow")
    if what == "advance":
        for _ in range(6):
            world.treat(400)
            if world.tick(dry_run=True).decision.stage == "5":
                return world.tick
        raise AssertionError("non-inferiority was not proven")
    if what == "rollback":
        world.treat(30, invalid=1)
        return world.tick
    return world.roll_back


EXPECTED = {"advance": ("5", {CHAMPION: 95, CHALLENGER: 5}), "rollback": ("rolled_back", {CHAMPION: 100})}
EXPECTED["order"] = EXPECTED["rollback"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("what", ["advance", "rollback", "order"])
def test_killed_at_every_write_point_nothing_is_lost_or_done_twice(tmp_path: Path, what: str, after: bool) -> None:
    stage, weights = EXPECTED[what]
    (tmp_path / "before").mkdir()
    prepared = World(tmp_path / "before")
    ready_to(prepared, what)
    killed = 0
    for k in range(1, 20):
        world = prepared.copy(tmp_path / str(k))
        act = world.roll_back if what == "order" else world.tick

        def doomed(world: World = world, act: Callable[[], object] = act, k: int = k) -> None:
            plan = KilledAt(k, after)
            plan.wrap(world.ledger, *WRITES)
            plan.wrap(world.router, "apply")
            plan.wrap(EvidenceLog, "_store")
            act()

        status = in_child(world, doomed)
        if status == 0:
            break
        assert status == -signal.SIGKILL
        killed += 1
        world.wall.at += 60
        if world.ledger.progress(world.rollout_id).is_open:
            act()
        world.tick(60)
        assert world.ledger.progress(world.rollout_id).stage == stage, f"write point {k}"
        assert world.router.read(CANCER).weights == weights
        assert [r.transition.stage for r in world.rows()].count(stage) == 1, "one history row"
        assert len([w for w in world.router.writes if w == weights]) == (1 if stage == "5" else 2), "one change"
        assert world.ledger.pending_intents(CANCER) == []
        assert world.ledger.verify_chain().ok
        log = EvidenceLog(world.engine)
        assert log.replay(world.rollout_id, world.plan) == log.current(world.rollout_id, world.plan)
        world.engine.dispose()
    assert killed >= 9


def test_a_killed_holder_delays_the_next_tick_only_until_its_lease_ends(world: World) -> None:
    act = ready_to(world, "rollback")

    def doomed() -> None:
        plan = KilledAt(1, after=False)
        plan.wrap(world.router, "apply")
        act()

    assert in_child(world, doomed) == -signal.SIGKILL
    world.wall.at += 5  # the child's clock had moved as far before it died
    assert world.tick(1).status is TickStatus.BUSY
    assert world.tick(15).stage == "rolled_back"


def test_many_ticks_at_once_change_the_weight_once(any_world: World) -> None:
    ready_to(any_world, "advance")
    before = len(any_world.router.writes)
    together = threading.Barrier(8)
    results: list[TickStatus] = []

    def one(name: str) -> None:
        together.wait()
        results.append(any_world.tick(0.0, holder=name).status)

    threads = [threading.Thread(target=one, args=(f"holder-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) <= {TickStatus.DECIDED, TickStatus.BUSY}
    assert TickStatus.DECIDED in results
    assert len(any_world.router.writes) == before + 1
    assert [r.transition.stage for r in any_world.rows()] == ["shadow", "5"]


def test_many_processes_at_once_change_the_weight_once(world: World) -> None:
    ready_to(world, "advance")
    before = len(world.router.writes)
    world.engine.dispose()
    start = time.monotonic() + 0.3

    def one() -> None:
        time.sleep(max(0.0, start - time.monotonic()))
        world.tick(0.0, holder=str(os.getpid()))

    children = [SPAWN.Process(target=_isolated, args=(world, one)) for _ in range(5)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 5
    assert len(world.router.writes) == before + 1
    assert [r.transition.stage for r in world.rows()] == ["shadow", "5"]


def test_an_advance_overtaken_by_bad_news_is_reverted(world: World) -> None:
    """Killed after the route was written and before it was recorded; then the challenger turns bad."""
    act = ready_to(world, "advance")

    def doomed() -> None:
        plan = KilledAt(1, after=True)
        plan.wrap(world.router, "apply")
        act()

    assert in_child(world, doomed) == -signal.SIGKILL
    assert world.share() == 5
    world.treat(40, errors=30)
    result = world.tick(60)
    assert result.stage == "rolled_back"
    assert world.share() == 0
    assert [r.transition.stage for r in world.rows()] == ["shadow", "rolled_back"]


def test_an_advance_that_is_no_longer_granted_is_taken_back(world: World) -> None:
    act = ready_to(world, "advance")

    def doomed() -> None:
        plan = KilledAt(1, after=True)
        plan.wrap(world.router, "apply")
        act()

    assert in_child(world, doomed) == -signal.SIGKILL
    world.authority.scopes[CHALLENGER] = Scope.SHADOW
    result = world.tick(60)
    assert (result.stage, world.share()) == ("shadow", 0)
    assert world.router.read(CANCER).mirror
    assert world.ledger.pending_intents(CANCER) == []
