"""The stages of a rollout, their order, and the route that belongs to each."""

from __future__ import annotations

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.routing import RouteState

OPENING = "opening"
SHADOW = "shadow"
APPROVAL = "approval"
FULL = "100"
WATCH = "watch"
DONE = "done"
ROLLED_BACK = "rolled_back"
BOTH_BAD = "both_bad"
FALLBACK = "fallback"

CLOSED = (DONE, ROLLED_BACK)
PROMOTED = (FULL, WATCH, DONE)
EMERGENCY = (BOTH_BAD, FALLBACK)
"""Neither model may be relied on. The challenger is off the route; then the policy's fallback takes over. Only a person
leads out, to `rolled_back`, and until then no other rollout of the cancer type can open."""


def path(plan: RolloutPlan) -> tuple[str, ...]:
    """All stages in order; `opening` lasts until the first write. A first deployment has nothing to compare with."""
    if plan.initial:
        return (OPENING, APPROVAL, FULL, DONE)
    return (OPENING, SHADOW, *(str(w) for w in plan.policy.ramp), APPROVAL, FULL, WATCH, DONE)


def following(plan: RolloutPlan, stage: str) -> str:
    stages = path(plan)
    return stages[stages.index(stage) + 1]


def preceding(plan: RolloutPlan, stage: str) -> str:
    """The last stage that was completed before `stage`: where a blind rollout steps down to."""
    stages = path(plan)
    if stage == APPROVAL:
        return stages[stages.index(stage) - 2]  # approval holds the last ramp weight
    return stages[max(0, stages.index(stage) - 1)]


def weight(plan: RolloutPlan, stage: str) -> int:
    """Challenger's share of the answers, per cent. While an approval is awaited the last ramp weight stays."""
    if stage == APPROVAL:
        return 0 if plan.initial else plan.policy.ramp[-1]
    if stage in PROMOTED:
        return 100
    return int(stage) if stage.isdigit() else 0


def route(plan: RolloutPlan, rollout_id: str, stage: str) -> RouteState | None:
    """The route of `stage`, `None` where there is none yet.

    Until the watch ends the old champion stays in the route at weight 0, loaded and one write away; it scores copies of
    every request, so that outcomes after the promotion are judged against it.
    """
    if plan.initial:
        served = stage in PROMOTED
        return RouteState(plan.cancer, rollout_id, plan.challenger) if served else None
    if stage == DONE:
        return RouteState(plan.cancer, rollout_id, plan.challenger)
    if stage == FALLBACK and plan.policy.both_bad == "refuse":
        return RouteState(plan.cancer, rollout_id, plan.champion, refused=True)
    if stage == FALLBACK:
        return RouteState(plan.cancer, rollout_id, plan.previous)
    if stage in (OPENING, ROLLED_BACK, BOTH_BAD):
        return RouteState(plan.cancer, rollout_id, plan.champion)
    share, mirror = weight(plan, stage), stage in (SHADOW, FULL, WATCH)
    return RouteState(plan.cancer, rollout_id, plan.champion, plan.challenger, share, mirror)


def needed_scope(plan: RolloutPlan, stage: str) -> Scope:
    """What the challenger's verdict must grant for staying in `stage`."""
    return Scope.SHADOW if stage in (OPENING, SHADOW) and not plan.initial else Scope.TRAFFIC
