"""When somebody else writes the route: noticed, named, restored a few times, never fought and never adopted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.controller import Action
from clinical_assets.rollout.routing import RouteState
from clinical_assets.rollout.tick import TickStatus

from .conftest import CANCER, CHALLENGER, CHAMPION, World


@pytest.fixture(scope="module")
def in_ramp(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(tmp_path_factory.mktemp("ramp"))
    made.to_ramp()
    return made


@pytest.fixture
def world(in_ramp: World, tmp_path: Path) -> Iterator[World]:
    """A rollout at 5 %."""
    made = in_ramp.copy(tmp_path / "world")
    yield made
    made.engine.dispose()


def edited(world: World, weight: int, writer: str = "kubectl-edit") -> None:
    route = world.router.read(CANCER)
    world.router.serve(RouteState(CANCER, route.rollout_id, CHAMPION, CHALLENGER, weight))
    world.router.writer = writer


def test_case_9_a_hand_edit_is_noticed_within_one_tick_with_the_managers_name_and_not_adopted(world: World) -> None:
    edited(world, 80)
    result = world.tick()
    assert (result.decision.rule, world.share()) == ("routing_mismatch", 5)
    assert "80 %, last written by kubectl-edit" in result.transition.transition.reason
    world.router.writer = ""
    assert world.tick().decision.action is Action.CONTINUE


def test_case_9_a_higher_weight_is_not_adopted_by_a_model_that_lost_its_verdict(world: World) -> None:
    edited(world, 80)
    world.authority.scopes[CHALLENGER] = Scope.NONE
    assert world.tick().decision.rule == "verdict"
    assert world.share() == 0


def test_case_11_an_observed_split_that_is_off_holds_and_says_both(world: World) -> None:
    world.router.conflict = "colon: the weights {'a': 60, 'b': 20} of the route do not add up to 100"
    held = world.tick()
    assert (held.decision.action, held.decision.rule, held.stage) == (Action.HOLD, "routing_mismatch", "5")
    assert "do not add up" in held.transition.transition.reason
    world.router.conflict = ""
    assert world.tick().decision.action is Action.CONTINUE


def test_case_10_a_tool_that_applies_again_and_again_is_named_and_not_fought(world: World) -> None:
    restored = []
    for _ in range(6):
        edited(world, 50, "argocd-controller")
        result = world.tick()
        restored.append(world.share() == 5)
    assert restored == [True] * 3 + [False] * 3, "three restores in ten minutes, then a pause"
    assert result.decision.rule == "routing_contested"
    paused = [row.transition for row in world.rows() if row.transition.rule == "routing_contested"]
    assert len(paused) == 1
    assert "restored 3 times in 10 minutes" in paused[0].reason
    assert "argocd-controller" in paused[0].reason
    assert world.share() == 50
    assert world.tick(600).decision.rule == "routing_mismatch", "after the pause it is tried again"
    assert world.share() == 5


def test_a_rollback_is_written_in_the_middle_of_a_fight(world: World) -> None:
    for _ in range(4):
        edited(world, 50, "argocd-controller")
        world.tick()
    assert world.roll_back().stage == "rolled_back"
    assert world.share() == 0


def test_case_8_a_deleted_route_is_held_and_left_alone_unless_it_may_be_recreated(world: World) -> None:
    world.router.state.unlink()
    held = world.tick()
    assert (held.decision.action, held.decision.rule) == (Action.HOLD, "routing_lost")
    assert held.transition is not None
    assert world.router.read(CANCER) is None
    assert world.tick().transition is None, "one row for one hold"


def test_case_8_recreated_at_challenger_0_and_only_then_restored_under_the_guard(world: World) -> None:
    world.router.recreate = True
    world.router.state.unlink()
    lost = world.tick()
    assert (lost.decision.rule, lost.stage) == ("routing_lost", "5")
    assert world.router.read(CANCER).weights == {CHAMPION: 100, CHALLENGER: 0}
    assert lost.transition.transition.observed_weight == 0
    world.authority.scopes[CHALLENGER] = Scope.SHADOW
    assert world.tick().decision.rule == "verdict", "nothing comes back without a verdict"
    assert world.share() == 0


def test_case_8_a_recreated_route_gets_its_share_back(world: World) -> None:
    world.router.recreate = True
    world.router.state.unlink()
    world.tick()
    assert world.tick().decision.rule == "routing_mismatch"
    assert world.share() == 5
    assert world.tick().decision.action is Action.CONTINUE


@pytest.mark.parametrize("down", [True, False])
def test_case_7_a_rollback_is_retried_by_every_tick_until_it_is_confirmed(world: World, down: bool) -> None:
    world.router.down = True
    assert world.roll_back().status is TickStatus.UNFINISHED
    for _ in range(3):
        assert world.tick().status is TickStatus.UNFINISHED
    if not down:
        edited_while_down = RouteState(CANCER, world.rollout_id, CHAMPION, CHALLENGER, 50)
        world.router.serve(edited_while_down)
    world.router.down = False
    assert world.tick().stage == "rolled_back"
    assert world.share() == 0
