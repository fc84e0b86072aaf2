"""Champion and challenger both fail: the challenger leaves, the policy's fallback takes over once, a person decides."""

from __future__ import annotations

import logging

import pytest

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout import stages
from clinical_assets.rollout.champion import champion_of, previous_of
from clinical_assets.rollout.controller import Action
from clinical_assets.rollout.entries import RolloutConflict
from clinical_assets.rollout.opening import open_rollout
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.replay import replay
from clinical_assets.rollout.routing import RouteRejected, RouteState, guard
from clinical_assets.rollout.tick import TickStatus
from clinical_assets.serving.placement import reconcile
from sensors.rollout import event, tell

from .conftest import CANCER, CHALLENGER, CHAMPION, DAY, NEWER, World

FORMER = "e" * 64


def both_fail(world: World, **plan: object) -> None:
    """Two models in a split that fail alike, until the challenger is off the route."""
    world.plan = RolloutPlan.model_validate(world.plan.model_dump() | {"previous": FORMER} | plan)
    world.authority.scopes.setdefault(FORMER, Scope.TRAFFIC)
    world.to_ramp()
    for _ in range(6):
        world.telemetry.add(CHAMPION, 200, 60)
        world.telemetry.add(CHALLENGER, 60, 20)
        result = world.tick()
        if result.decision.action is Action.ROLLBACK:
            break
    assert (result.decision.rule, result.stage, world.share()) == ("both_bad", "both_bad", 0)
    assert world.router.read(CANCER) == RouteState(CANCER, world.rollout_id, CHAMPION)


def refusing(world: World) -> dict[str, object]:
    return world.plan.policy.model_dump() | {"both_bad": "refuse"}


def agrees(world: World) -> bool:
    return not any(row.differences for row in replay(world.ledger, world.rollout_id))


def test_the_model_certified_before_the_champion_takes_over_once(world: World) -> None:
    both_fail(world)
    taken = world.tick()
    assert (taken.decision.rule, taken.stage) == ("both_bad", "fallback")
    assert world.router.read(CANCER) == RouteState(CANCER, world.rollout_id, FORMER)
    rows, writes = len(world.rows()), len(world.router.writes)
    for _ in range(5):
        world.clock.at += DAY
        world.telemetry.add(CHAMPION, 500, 0)
        assert world.tick().stage == "fallback", "good news of the champion lead nowhere without a person"
    assert (len(world.rows()), len(world.router.writes)) == (rows, writes)
    assert agrees(world)


def test_nobody_gets_a_prediction_where_the_policy_says_so(world: World) -> None:
    both_fail(world, policy=refusing(world))
    assert world.tick().stage == "fallback"
    assert world.router.read(CANCER) == RouteState(CANCER, world.rollout_id, CHAMPION, refused=True)
    assert "nobody gets a prediction" in world.tick().decision.reason
    assert agrees(world)


@pytest.mark.parametrize(
    ("former", "granted", "said"),
    [("", Scope.TRAFFIC, "no model was certified before"), (FORMER, Scope.SHADOW, "traffic is needed")],
)
def test_without_a_certified_model_the_champion_goes_on_and_a_person_is_called(
    world: World, former: str, granted: Scope, said: str
) -> None:
    world.authority.scopes[FORMER] = granted
    both_fail(world, previous=former)
    held = world.tick()
    assert (held.decision.action, held.stage) == (Action.HOLD, "both_bad")
    assert said in held.decision.reason
    assert world.tick().transition is None
    assert world.router.read(CANCER).weights == {CHAMPION: 100}
    assert agrees(world)


def test_only_a_person_leads_out_and_no_other_rollout_opens_before(world: World) -> None:
    both_fail(world, policy=refusing(world))
    world.tick()
    newer = RolloutPlan.model_validate(world.plan.model_dump() | {"challenger": NEWER})
    with pytest.raises(RolloutConflict, match="still open"):
        open_rollout(world.ledger, newer, "trainer", world.clock.at)
    assert world.roll_back("a newer model", "superseded").stage == "fallback"
    assert world.router.read(CANCER).refused
    ended = world.roll_back("the database is back")
    assert (ended.stage, ended.transition.transition.actor) == ("rolled_back", "dr_mueller")
    assert world.router.read(CANCER) == RouteState(CANCER, world.rollout_id, CHAMPION)
    assert agrees(world)


def test_a_champion_without_verdict_does_not_come_back_from_a_refusal(world: World) -> None:
    both_fail(world, policy=refusing(world))
    world.tick()
    world.authority.scopes[CHAMPION] = Scope.NONE
    assert world.roll_back().status is TickStatus.UNFINISHED
    assert world.router.read(CANCER).refused


def test_a_fallback_that_the_data_plane_rejects_is_offered_again_later(world: World) -> None:
    both_fail(world)
    world.router.fault = RouteRejected("unknown cluster")
    assert world.tick().decision.rule == "route_rejected"
    assert world.tick().transition is None
    world.router.fault = None
    assert world.tick().stage == "both_bad"
    assert world.tick(61).stage == "fallback"


def test_a_hand_edit_of_the_refusal_is_put_back(world: World) -> None:
    both_fail(world, policy=refusing(world))
    world.tick()
    world.router.serve(RouteState(CANCER, world.rollout_id, CHAMPION))
    assert world.tick().decision.rule == "routing_mismatch"
    assert world.router.read(CANCER).refused


def test_people_are_told_and_the_fallback_is_loaded(world: World, caplog: pytest.LogCaptureFixture) -> None:
    placed: list[str] = []

    class BackEnd:
        def placed(self, cancer: str) -> list[str]:
            return [CHAMPION, CHALLENGER]

        def place(self, cancer: str, digest: str, keep: str | None = None) -> None:
            placed.append(digest)

        def retire(self, cancer: str, digest: str) -> None:
            placed.append(f"without {digest}")

        def finish_retiring(self) -> None: ...

    both_fail(world)
    reconcile(world.ledger, BackEnd(), CANCER)
    assert placed == [f"without {CHALLENGER}", CHAMPION, FORMER]
    tell(logging.getLogger(__name__), event(world.ledger, world.rows()[-1]))
    assert "a person must decide" in caplog.text


def test_the_former_model_is_the_one_that_the_champion_replaced(world: World) -> None:
    world.to_ramp()
    assert previous_of(world.ledger, CANCER, CHAMPION) == ""
    for _ in range(4):
        world.treat(500)
        world.clock.at += DAY
        world.tick()
    world.authority.approved_by = "dr_curie"
    world.until("100")
    world.treat(30)
    world.clock.at += DAY
    world.until("watch")
    world.clock.at += 2 * DAY
    assert world.until("done").stage == stages.DONE
    assert (champion_of(world.ledger, CANCER), previous_of(world.ledger, CANCER, CHALLENGER)) == (CHALLENGER, CHAMPION)


def test_a_refusal_never_waits_for_a_verdict_and_its_end_always_does(world: World) -> None:
    world.authority.scopes.clear()
    split, refusal = RouteState(CANCER, "", CHAMPION, CHALLENGER, 50), RouteState(CANCER, "", CHAMPION, refused=True)
    guard(refusal, split, world.authority, 0.0)
    with pytest.raises(Exception, match="traffic is needed"):
        guard(RouteState(CANCER, "", CHAMPION), refusal, world.authority, 0.0)
    with pytest.raises(ValueError, match="refuses"):
        RouteState(CANCER, "", CHAMPION, CHALLENGER, refused=True)
