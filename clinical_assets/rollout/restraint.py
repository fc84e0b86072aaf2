"""What a tick refrains from: a write that changes nothing, a fight with another writer, a row that says nothing new."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from clinical_assets.rollout import stages
from clinical_assets.rollout.controller import Action, Decision, RouteReading
from clinical_assets.rollout.entries import Progress
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.routing import RouteState
from clinical_assets.rollout.situation import RouteSight, same

RETRY_REJECTED_S = 60.0
"""A refused route is offered again only this often, wall seconds."""

RESTORES = (3, 600.0)
"""A route changed by another hand is restored so many times in so many seconds; then the rollout only holds."""

CONTESTED = "routing_contested"
_RESTORED = ("routing_mismatch", "routing_lost")


def needs_write(
    decision: Decision, sight: RouteSight, target: RouteState | None, progress: Progress, recreate: bool
) -> bool:
    """Whether carrying out `decision` changes the route; what is unreachable is only written to roll back."""
    if target is None or (sight.reading is not RouteReading.UNREACHABLE and same(sight.served, target)):
        return False
    if decision.action is Action.ROLLBACK:
        return True
    if decision.rule == CONTESTED:
        return False
    if sight.reading is RouteReading.MISMATCH:  # only a route between our own two models is restored
        rollout = progress.rollout
        ours = {rollout.champion, rollout.challenger, rollout.policy.get("previous")}
        return sight.served is not None and set(sight.served.weights) <= ours
    return recreate if sight.reading is RouteReading.LOST else sight.reading is RouteReading.AS_INTENDED


def contested(decision: Decision, sight: RouteSight, progress: Progress, ledger: Ledger) -> Decision:
    """No fight: pause where another writer keeps undoing what is restored, and say who it is."""
    if decision.action is not Action.HOLD or decision.rule not in _RESTORED:
        return decision
    often, seconds = RESTORES
    recent = [row for row in ledger.transitions(progress.rollout.id) if row.recorded_at > ledger.wall() - seconds]
    if sum(row.transition.rule in _RESTORED and row.transition.intent_id is not None for row in recent) < often:
        return decision
    reason = f"restored {often} times in {seconds / 60:g} minutes and undone each time; paused. {decision.reason}"
    return replace(decision, rule=CONTESTED, reason=reason)


def after_loss(target: RouteState | None, decision: Decision, sight: RouteSight) -> RouteState | None:
    """A route that was deleted comes back with the champion alone; the challenger's share follows as a restore."""
    if target is None or sight.reading is not RouteReading.LOST or decision.action is not Action.HOLD:
        return target
    return replace(target, weight=0, mirror=False, pinned=False)


def worth_a_row(decision: Decision, progress: Progress) -> bool:
    """Actions are recorded; a hold is recorded when it begins, changes its reason or ends."""
    last = progress.last.transition if progress.last else None
    held = (last.rule, last.stage) if last is not None and last.action == Action.HOLD else None
    if decision.action is Action.HOLD:
        return held != (decision.rule, decision.stage)
    return held is not None if decision.action is Action.CONTINUE else True


def paced(decision: Decision, plan: RolloutPlan, progress: Progress, ledger: Ledger) -> Decision:
    """Hold for a while after the data plane refused a route."""
    last = progress.last
    if last is None or last.transition.rule != "route_rejected" or decision.action is Action.ROLLBACK:
        return decision
    if decision.action is Action.HOLD and decision.stage != stages.FALLBACK:
        return decision
    if ledger.wall() - last.recorded_at >= RETRY_REJECTED_S:
        return decision
    return replace(decision, **staying(plan, progress), rule="route_rejected", reason=last.transition.reason)


def staying(plan: RolloutPlan, progress: Progress) -> dict[str, Any]:
    """The fields of a decision to hold in the present stage."""
    stage = stage_of(progress)
    return {"action": Action.HOLD, "stage": stage, "weight": stages.weight(plan, stage)}


def stage_of(progress: Progress) -> str:
    """The stage in force; a rollout without any decision is opening."""
    return stages.OPENING if progress.last is None else progress.stage
