"""Opening and ending rollouts: what the deployed variant and `clinical rollback` call."""

from __future__ import annotations

import time

from clinical_assets.foundation.clock import SECONDS_PER_DAY, Clock
from clinical_assets.rollout import stages
from clinical_assets.rollout.authority import RolloutAuthority
from clinical_assets.rollout.controller import Order
from clinical_assets.rollout.entries import Rollout, RolloutConflict
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.routing import Telemetry, TrafficRouter
from clinical_assets.rollout.tick import TickResult, TickStatus, tick
from clinical_assets.rollout.writing import LEASE_S

RETRY_S = 0.2


def open_rollout(ledger: Ledger, plan: RolloutPlan, author: str, now: float, person: str = "") -> Rollout:
    """Open the rollout of `plan`, or return the same one if it is already open. No route is touched: ticks do that.

    Args:
        author: who trained the model; may not approve it.
        now: clinical time.
        person: who starts it, if a person does; a digest that was rolled back is not opened again by a rule.

    Raises:
        RolloutConflict: another rollout of this cancer type is open (end it with `roll_back`, rule "superseded"), or
            this digest was rolled back and its cool-down has not passed or no person asks.
    """
    for progress in ledger.standings(active=False, cancer=plan.cancer):
        last = progress.last.transition if progress.last else None
        if last is None or last.stage != stages.ROLLED_BACK or progress.rollout.challenger != plan.challenger:
            continue
        until = progress.entered_at + plan.policy.cooldown_days * SECONDS_PER_DAY
        if now < until or not person:
            days = max(0.0, until - now) / SECONDS_PER_DAY
            raise RolloutConflict(
                f"{plan.cancer}: model {plan.challenger[:12]} was rolled back ({last.rule}); a person can open it "
                f"again after the cool-down ({days:.1f} days left), or train a new model"
            )
    return ledger.open_rollout(plan.cancer, plan.champion, plan.challenger, plan.model_dump(mode="json"), author, now)


def roll_back(
    rollout_id: str,
    ledger: Ledger,
    router: TrafficRouter,
    telemetry: Telemetry,
    authority: RolloutAuthority,
    clock: Clock,
    holder: str,
    order: Order,
    patience_s: float = LEASE_S + 5.0,
) -> TickResult:
    """Roll back now, whatever the evidence says; waits up to `patience_s` for a running tick to finish.

    The result is `unfinished` if the data plane did not confirm; every later tick then goes on with it.
    """
    deadline = time.monotonic() + patience_s
    while True:
        result = tick(rollout_id, ledger, router, telemetry, authority, clock, holder, order)
        if result.status is not TickStatus.BUSY or time.monotonic() > deadline:
            return result
        time.sleep(RETRY_S)
