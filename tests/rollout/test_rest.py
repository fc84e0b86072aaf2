"""Ticking only the rollouts for which something is new decides what ticking all of them every time decides."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.entries import Outcome
from clinical_assets.rollout.evidence_log import EvidenceLog
from clinical_assets.rollout.replay import replay
from clinical_assets.rollout.rest import Rests, Surroundings
from clinical_assets.rollout.routing import RouteState

from .conftest import CANCER, CHALLENGER, CHAMPION, DAY, World

Change = Callable[[World], object]


class Watched:
    """A world whose rollout is ticked when its turn comes, or only when something is new."""

    def __init__(self, world: World, skips: bool, longest_s: float = math.inf) -> None:
        self.world, self.skips = world, skips
        self.rests = Rests(longest_s, math.inf)
        self.ticked = 0

    def turn(self, seconds: float = 10.0) -> bool:
        """Whether the rollout was ticked. Ten seconds apart, every full tick stores what telemetry said."""
        world = self.world
        world.wall.at += seconds
        ports = (world.ledger, world.router, world.telemetry, world.authority)
        around = Surroundings(*ports, None, world.clock.at)
        standings = world.ledger.standings(active=True)
        seen = self.rests.look(around, standings)
        due = False
        for progress in standings:
            if self.skips and progress.rollout.id not in seen.due:
                continue
            due, self.ticked = True, self.ticked + 1
            result = world.tick(0.0, heard=self.rests.heard.get(progress.rollout.id) if self.skips else None)
            self.rests.settle(around, seen, progress, result)
        return due

    def decided(self) -> list[tuple[object, ...]]:
        """Every decision with what it led to, and the route now."""
        rows = [row.transition for row in self.world.rows()]
        said = [(t.action, t.stage, t.weight, t.rule, t.reason, t.actor, t.at, t.n, t.statistics) for t in rows]
        return [*said, (self.world.share(), self.world.router.read(CANCER))]


@pytest.fixture(scope="module")
def beginnings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, World]]:
    """In shadow with labels, in shadow with follow-up, in the ramp."""
    made = {name: World(tmp_path_factory.mktemp(name)) for name in ("shadow", "survival", "ramp")}
    made["shadow"].open()
    made["survival"].open(horizon_days=30.0, policy={"follow_up": "as_reported", "reporting_lag_days": 2.0})
    for name in ("shadow", "survival"):
        made[name].until("shadow")
    made["ramp"].to_ramp()
    yield made
    for world in made.values():
        world.engine.dispose()


def follow_up(world: World, n: int) -> None:
    """Patients some of whom are reported dead or lost at once."""
    survives = world.plan.horizon_days is not None
    ids = world.treat(n, label=not survives)
    if survives:
        ends = [(float(1 + i), i % 2) for i in range(len(ids) // 2)]
        told = [Outcome(q, CANCER, world.clock.at, time=t, event=e) for q, (t, e) in zip(ids, ends, strict=False)]
        world.ledger.record_outcomes(told)


def serve(world: World, weight: int) -> None:
    route = world.router.read(CANCER)
    assert route is not None
    world.router.serve(RouteState(CANCER, route.rollout_id, CHAMPION, CHALLENGER, weight))


CHANGES: dict[str, Change] = {
    "nothing": lambda world: None,
    "an hour": lambda world: setattr(world.clock, "at", world.clock.at + 3600.0),
    "a day": lambda world: setattr(world.clock, "at", world.clock.at + DAY),
    "a month": lambda world: setattr(world.clock, "at", world.clock.at + 31 * DAY),
    "half a year": lambda world: setattr(world.clock, "at", world.clock.at + 200 * DAY),
    "patients": lambda world: follow_up(world, 30),
    "patients without label": lambda world: world.treat(10, label=False),
    "a few errors": lambda world: world.treat(20, errors=3, label=False),
    "traffic without log": lambda world: world.telemetry.add(CHAMPION, 40),
    "no telemetry": lambda world: setattr(world.telemetry, "missing", "the exporter is down"),
    "telemetry again": lambda world: setattr(world.telemetry, "missing", ""),
    "another hand": lambda world: serve(world, 70),
    "no data plane": lambda world: setattr(world.router, "down", True),
    "data plane again": lambda world: setattr(world.router, "down", False),
    "verdict falls": lambda world: world.authority.scopes.update({CHALLENGER: Scope.NONE}),
    "verdict of shadow": lambda world: world.authority.scopes.update({CHALLENGER: Scope.SHADOW}),
    "approval": lambda world: setattr(world.authority, "approved_by", "dr_curie"),
}

history = st.lists(
    st.tuples(st.sampled_from(list(CHANGES)), st.sampled_from([10.0, 70.0]), st.integers(1, 3)), max_size=9
)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["shadow", "survival", "ramp"]), history)
def test_every_history_is_decided_alike(
    beginnings: dict[str, World], beginning: str, steps: list[tuple[str, float, int]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        full = Watched(beginnings[beginning].copy(Path(directory) / "full"), skips=False)
        skipping = Watched(beginnings[beginning].copy(Path(directory) / "skipping"), skips=True)
        try:
            for name, seconds, turns in steps:
                for watched in (full, skipping):
                    if not watched.world.router.down:
                        CHANGES[name](watched.world)
                    elif name == "data plane again":
                        watched.world.router.down = False
                    for _ in range(turns):
                        watched.turn(seconds)
                if not full.world.router.down:
                    assert skipping.decided() == full.decided()
            log, plan = EvidenceLog(skipping.world.engine), skipping.world.plan
            log.replay(skipping.world.rollout_id, plan)
            assert skipping.ticked <= full.ticked
        finally:
            full.world.engine.dispose()
            skipping.world.engine.dispose()


@pytest.fixture
def resting(beginnings: dict[str, World], tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(beginnings["ramp"].copy(tmp_path / "copy"), skips=True)
    watched.world.treat(50)
    watched.turn()
    watched.turn()
    assert [watched.turn() for _ in range(3)] == [False, False, False]
    yield watched
    watched.world.engine.dispose()


UNNOTICED = ("nothing", "an hour", "telemetry again", "data plane again")


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in UNNOTICED])
def test_whatever_may_change_a_decision_wakes_a_rollout(resting: Watched, name: str) -> None:
    CHANGES[name](resting.world)
    assert resting.turn()


@pytest.mark.parametrize("name", UNNOTICED)
def test_what_changes_nothing_lets_it_rest(resting: Watched, name: str) -> None:
    CHANGES[name](resting.world)
    assert not resting.turn()


def test_a_decision_by_another_process_wakes_it(resting: Watched) -> None:
    resting.world.tick(order=None)
    resting.world.roll_back()
    assert not resting.turn(), "the rollout is over"
    assert resting.world.share() == 0


def test_no_rest_lasts_for_ever(beginnings: dict[str, World], tmp_path: Path) -> None:
    watched = Watched(beginnings["shadow"].copy(tmp_path / "copy"), skips=True, longest_s=300.0)
    turns = [watched.turn(20.0) for _ in range(40)]
    assert 2 <= sum(turns) <= 8
    watched.world.engine.dispose()


def test_telemetry_heard_at_rest_counts_against_blindness_and_dates_the_first_bad_sample(resting: Watched) -> None:
    """After an hour of rest an outage is not an hour old, nor is the first error."""
    world = resting.world
    assert [resting.turn(60.0) for _ in range(60)] == [False] * 60
    began = world.wall.at
    world.telemetry.missing = "the exporter is down"
    resting.turn(5.0)
    assert world.share() == 5, "no step down before the blind limit"
    world.telemetry.missing = ""
    resting.turn(5.0)
    for _ in range(12):
        world.treat(100, errors=60, label=False)
        resting.turn(5.0)
    last = world.rows()[-1].transition
    assert last.stage == "rolled_back"
    assert last.statistics["rollback"]["first_bad_sample_at"] >= began
    assert all(not again.differences for again in replay(world.ledger, world.rollout_id))
