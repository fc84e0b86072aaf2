"""One tick: lease, read, move the evidence on, decide, write, observe, record. Idempotent and safe to kill anywhere.

Run it as often as wished, from as many processes as wished: one holds the lease and the others return `busy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from clinical_assets.audit.records import Refused
from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.foundation.clock import Clock
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout import stages
from clinical_assets.rollout.authority import RolloutAuthority
from clinical_assets.rollout.controller import Action, Decision, Order, RolloutState, decide
from clinical_assets.rollout.entries import Fence, Intent, Progress, StoredTransition
from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.evidence_log import EvidenceLog, Look, state_digest
from clinical_assets.rollout.guardrails import counts
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.promotion import proof
from clinical_assets.rollout.restraint import after_loss, contested, needs_write, paced, stage_of, staying, worth_a_row
from clinical_assets.rollout.routing import (
    RouteConflict,
    RouteRejected,
    RoutingUnavailable,
    Telemetry,
    TrafficRouter,
)
from clinical_assets.rollout.situation import (
    RouteSight,
    TelemetrySample,
    approver,
    fallback_problem,
    look,
    same,
    sample,
    verdict_problem,
)
from clinical_assets.rollout.writing import LEASE_S, Facts, Writer, begun_decision, begun_route


class TickStatus(StrEnum):
    DECIDED = "decided"
    BUSY = "busy"  # another holder has the lease
    CLOSED = "closed"
    UNFINISHED = "unfinished"  # the data plane could not be written or confirmed; the next tick goes on
    PREVIEW = "preview"


@dataclass(frozen=True)
class TickResult:
    """`transition` is the row that was appended, `None` if nothing changed; `error` says what is unfinished."""

    status: TickStatus
    stage: str
    decision: Decision | None = None
    evidence: Evidence | None = None
    transition: StoredTransition | None = None
    error: str = ""


def tick(
    rollout_id: str,
    ledger: Ledger,
    router: TrafficRouter,
    telemetry: Telemetry,
    authority: RolloutAuthority,
    clock: Clock,
    holder: str,
    order: Order | None = None,
    dry_run: bool = False,
    heard: float | None = None,
) -> TickResult:
    """Decide once on an open rollout and carry the decision out.

    Args:
        clock: clinical time (maturity, dwell, deadline). Verdicts, leases and delays use wall time.
        holder: name of this process, for the lease.
        order: roll back on a person's word; needs no verdict, approval or evidence.
        dry_run: the same decision with zero writes.
        heard: wall time at which telemetry last gave the counters that the evidence holds, if later than its last step.

    Raises:
        LedgerError: unknown rollout. StaleLease: the lease was taken over while deciding; nothing more was written.
    """
    ports = _Ports(ledger, router, telemetry, authority, heard)
    rollout = ledger.rollout_by_id(rollout_id)
    if dry_run:
        return _preview(ports, ledger.progress(rollout_id), clock.now(), order)
    token = ledger.acquire_lease(f"route:{rollout.cancer}", holder, LEASE_S)
    if token is None:
        return TickResult(TickStatus.BUSY, ledger.progress(rollout_id).stage)
    fence = Fence(f"route:{rollout.cancer}", token)
    try:
        return _decide_and_write(ports, Writer(ledger, router, rollout, fence, clock.now()), order)
    finally:
        ledger.release_lease(fence)


@dataclass(frozen=True)
class _Ports:
    ledger: Ledger
    router: TrafficRouter
    telemetry: Telemetry
    authority: RolloutAuthority
    heard: float | None = None


def _decide_and_write(ports: _Ports, writer: Writer, order: Order | None) -> TickResult:
    pending = writer.unfinished()
    progress = ports.ledger.progress(writer.rollout.id)
    if not progress.is_open:
        return TickResult(TickStatus.CLOSED, progress.stage)
    plan = RolloutPlan.model_validate(progress.rollout.policy)
    telemetry = sample(ports.telemetry, plan)
    sight = _sight(ports, plan, progress, pending)
    evidence = _evidence(ports, plan, progress, telemetry, writer.now, writer.fence)
    state = _state(ports, plan, progress, telemetry, sight, evidence, order)
    decision = paced(decide(state, evidence, plan.policy, writer.now), plan, progress, ports.ledger)
    decision = contested(decision, sight, progress, ports.ledger)
    facts = _facts(plan, state, evidence)
    if pending is not None and begun_decision(pending).action is Action.ROLLBACK:
        decision = begun_decision(pending)  # a rollback once begun is finished, whatever was seen since
    result = TickResult(TickStatus.DECIDED, progress.stage, decision, evidence)
    try:
        return _write(writer, result, progress, plan, sight, pending, facts)
    except RoutingUnavailable as error:
        return replace(result, status=TickStatus.UNFINISHED, error=str(error))


def _write(
    writer: Writer,
    result: TickResult,
    progress: Progress,
    plan: RolloutPlan,
    sight: RouteSight,
    pending: Intent | None,
    facts: Facts,
) -> TickResult:
    decision = result.decision
    assert decision is not None
    target = after_loss(stages.route(plan, writer.rollout.id, decision.stage), decision, sight)
    if pending is not None and not same(target, begun_route(pending)):
        writer.revert(pending, "overtaken by a later decision")
        pending = None
    if pending is None and not needs_write(decision, sight, target, progress, writer.router.recreate):
        if not worth_a_row(decision, progress):
            return result
        stored = writer.record(decision, facts, sight.weight_of(plan.challenger))
        return replace(result, stage=decision.stage, transition=stored)
    assert target is not None
    intent = pending or writer.begin(decision, target)
    try:
        stored = writer.carry_out(decision, target, intent, facts)
    except (RouteRejected, RouteConflict, Refused) as error:
        if decision.action is Action.ROLLBACK:
            return replace(result, status=TickStatus.UNFINISHED, error=str(error))
        writer.revert(intent, str(error))
        refused = replace(decision, **staying(plan, progress), rule="route_rejected", reason=str(error))
        stored = writer.record(refused, facts, sight.weight_of(plan.challenger))
        return replace(result, decision=refused, transition=stored)
    return replace(result, stage=decision.stage, transition=stored)


def _sight(ports: _Ports, plan: RolloutPlan, progress: Progress, pending: Intent | None) -> RouteSight:
    intended = stages.route(plan, progress.rollout.id, stage_of(progress))
    return look(ports.router, plan.cancer, intended, begun_route(pending))


def _evidence(
    ports: _Ports,
    plan: RolloutPlan,
    progress: Progress,
    telemetry: TelemetrySample,
    now: float,
    fence: Fence | None,
) -> Evidence:
    look = Look(now, ports.ledger.wall(), stage_of(progress), telemetry.counters, ports.heard)
    return EvidenceLog(ports.ledger.engine).step(progress.rollout.id, plan, look, fence)


def _state(
    ports: _Ports,
    plan: RolloutPlan,
    progress: Progress,
    telemetry: TelemetrySample,
    sight: RouteSight,
    evidence: Evidence,
    order: Order | None,
) -> RolloutState:
    wall = ports.ledger.wall()
    stage = stage_of(progress)
    leaving = stage == stages.SHADOW and proof(evidence, plan).proven
    recorded_at = progress.last.recorded_at if progress.last else 0.0
    since = max(evidence.sampled_at or wall, recorded_at, ports.heard or 0.0)
    return RolloutState(
        plan=plan,
        stage=stage,
        entered_at=progress.entered_at,
        opened_at=progress.rollout.opened_at,
        verdict=verdict_problem(ports.authority, plan, stages.needed_scope(plan, stage), wall),
        next_verdict=verdict_problem(ports.authority, plan, Scope.TRAFFIC, wall) if leaving else "",
        approver=approver(ports.authority, progress.rollout, plan, stage, wall),
        telemetry=telemetry.reading,
        telemetry_reason=telemetry.reason,
        blind_s=max(0.0, wall - since),
        route=sight.reading,
        route_reason=sight.reason,
        order=order,
        fallback=fallback_problem(ports.authority, plan, wall) if stage in stages.EMERGENCY else "",
    )


def _facts(plan: RolloutPlan, state: RolloutState, evidence: Evidence) -> Facts:
    digest = state_digest(evidence)
    lower, upper = evidence.paired.interval.bounds
    widest = plan.max_weight
    interval = (-widest if lower is None else lower, widest if upper is None else upper) if evidence.paired.n else None
    seen: Mapping[str, Any] = {
        "evidence": digest,
        "stage": state.stage,
        "verdict": state.verdict,
        "next_verdict": state.next_verdict,
        "approver": state.approver,
        "telemetry": state.telemetry.value,
        "blind": state.blind_s > plan.policy.blind_limit_s,
        "route": state.route.value,
        "order": None if state.order is None else state.order.actor,
        **({"fallback": state.fallback} if state.stage in stages.EMERGENCY else {}),
    }
    return Facts(counts(evidence), interval, sha256_json(seen), seen)


def _preview(ports: _Ports, progress: Progress, now: float, order: Order | None) -> TickResult:
    if not progress.is_open:
        return TickResult(TickStatus.CLOSED, progress.stage)
    plan = RolloutPlan.model_validate(progress.rollout.policy)
    telemetry = sample(ports.telemetry, plan)
    begun = [intent for intent in ports.ledger.pending_intents(plan.cancer) if intent.rollout_id == progress.rollout.id]
    sight = _sight(ports, plan, progress, begun[0] if begun else None)
    evidence = _evidence(ports, plan, progress, telemetry, now, None)
    state = _state(ports, plan, progress, telemetry, sight, evidence, order)
    decision = paced(decide(state, evidence, plan.policy, now), plan, progress, ports.ledger)
    decision = contested(decision, sight, progress, ports.ledger)
    return TickResult(TickStatus.PREVIEW, progress.stage, decision, evidence)
