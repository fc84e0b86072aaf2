"""The decision: a pure function of stage, evidence, policy and time. ROLLBACK > HOLD > ADVANCE, PROMOTE > CONTINUE.

It reads no clock, no database and no route, so that a decision can be replayed, previewed and tested alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.rollout import stages
from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.guardrails import (
    PROMOTED_NULL,
    both_bad,
    drifted,
    guardrails,
    outcome_watch_limit,
    statistics,
    watch_limit,
)
from clinical_assets.rollout.inputs import Reading
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.rollout.promotion import proof


class Action(StrEnum):
    ROLLBACK = "ROLLBACK"
    HOLD = "HOLD"
    ADVANCE = "ADVANCE"
    PROMOTE = "PROMOTE"
    CONTINUE = "CONTINUE"


ESSENTIAL = ("error_objective",)
"""Without an `OK` reading of these no rollout advances, whatever the others say."""


BOTH_BAD = "both_bad"


class RouteReading(StrEnum):
    """What the data plane serves, compared with what the ledger intends."""

    AS_INTENDED = "as_intended"
    MISMATCH = "mismatch"
    LOST = "lost"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Order:
    """A person, or the arrival of a newer model (`rule` "superseded"), ends the rollout."""

    actor: str
    reason: str
    rule: str = "operator"


@dataclass(frozen=True)
class RolloutState:
    """Where the rollout stands and what the world says.

    Attributes:
        entered_at, opened_at: clinical seconds.
        verdict: why the challenger may not stay in its stage, "" if it may.
        next_verdict: why it may not leave shadow, "" if it may.
        approver: who approved the promotion, "" if nobody did.
        fallback: why the policy's fallback for two bad models cannot take over, "" if it can.
        blind_s: wall seconds since telemetry last answered.
    """

    plan: RolloutPlan
    stage: str
    entered_at: float
    opened_at: float
    verdict: str = ""
    next_verdict: str = ""
    approver: str = ""
    telemetry: Reading = Reading.OK
    telemetry_reason: str = ""
    blind_s: float = 0.0
    route: RouteReading = RouteReading.AS_INTENDED
    route_reason: str = ""
    order: Order | None = None
    fallback: str = ""


@dataclass(frozen=True)
class Decision:
    """What to do. `stage` and `weight` are the target; `bad_since` is the wall time of the first bad sample."""

    action: Action
    stage: str
    weight: int
    rule: str
    reason: str
    actor: str = "controller"
    bad_since: float | None = None
    statistics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Finding:
    rule: str
    reason: str
    bad_since: float | None = None
    actor: str = "controller"


def decide(rollout: RolloutState, evidence: Evidence, policy: RolloutPolicy, now: float) -> Decision:
    """The one decision at `now` (clinical seconds).

    Args:
        policy: the policy locked in the rollout's plan.
    """
    plan, stage = rollout.plan, rollout.stage

    def decision(action: Action, target: str, finding: _Finding) -> Decision:
        shown = statistics(evidence, plan)
        weight = stages.weight(plan, target)
        rest = (finding.rule, finding.reason, finding.actor, finding.bad_since, shown)
        return Decision(action, target, weight, *rest)

    if stage in stages.CLOSED:
        return decision(Action.CONTINUE, stage, _Finding("closed", "the rollout is over"))
    if stage in stages.EMERGENCY:
        return decision(*_emergency(rollout))
    if plan.initial and stage == stages.FULL:
        return decision(Action.ADVANCE, stages.DONE, _Finding("first_model", "the only model answers all patients"))
    for finding in _rollback(rollout, evidence, policy, now):
        target = stages.BOTH_BAD if finding.rule == BOTH_BAD else stages.ROLLED_BACK
        return decision(Action.ROLLBACK, target, finding)
    for finding, target in _hold(rollout, evidence, policy):
        return decision(Action.HOLD, target, finding)
    if stage == stages.OPENING:
        return decision(Action.ADVANCE, stages.following(plan, stage), _Finding("opened", "verdict verified"))
    blockers = list(_blockers(rollout, evidence, policy, now))
    if blockers:
        return decision(Action.CONTINUE, stage, _Finding("waits", "; ".join(blockers)))
    target = stages.following(plan, stage)
    if stage == stages.APPROVAL:
        reason = f"approved by {rollout.approver}" if rollout.approver else "no approval required"
        return decision(Action.PROMOTE, target, _Finding("promoted", reason, actor=rollout.approver or "controller"))
    return decision(Action.ADVANCE, target, _Finding("evidence", f"all conditions of stage {stage} are met"))


def _emergency(rollout: RolloutState) -> tuple[Action, str, _Finding]:
    """Both models are bad: the fallback takes over once, and then everything waits for a person. Nothing flaps."""
    stage, order = rollout.stage, rollout.order
    if order and order.rule == "operator":
        return Action.ROLLBACK, stages.ROLLED_BACK, _Finding(order.rule, order.reason, actor=order.actor)
    if rollout.route is not RouteReading.AS_INTENDED:
        return Action.HOLD, stage, _Finding(f"routing_{rollout.route.value}", rollout.route_reason)
    waits = "until a person ends this rollout"
    if stage == stages.FALLBACK:
        refused = rollout.plan.policy.both_bad == "refuse"
        said = "nobody gets a prediction" if refused else f"{rollout.plan.previous[:12]}, certified before, answers"
        return Action.HOLD, stage, _Finding(BOTH_BAD, f"both models failed; {said} {waits}")
    if rollout.fallback:
        reason = f"both models failed and the champion goes on {waits}, for want of a fallback: {rollout.fallback}"
        return Action.HOLD, stage, _Finding(BOTH_BAD, reason)
    return Action.HOLD, stages.FALLBACK, _Finding(BOTH_BAD, "both models failed; the policy's fallback takes over")


def _rollback(rollout: RolloutState, evidence: Evidence, policy: RolloutPolicy, now: float) -> Iterator[_Finding]:
    if rollout.order:
        yield _Finding(rollout.order.rule, rollout.order.reason, actor=rollout.order.actor)
    outputs = evidence.outputs
    if outputs.invalid:
        yield _Finding(
            "invalid_output", f"{outputs.invalid} scores were NaN or outside [0, 1]", outputs.first_invalid_at
        )
    if outputs.longest >= policy.constant_run:
        yield _Finding("constant_output", f"the same score for {outputs.longest} patients", outputs.longest_since)
    if rollout.verdict:
        yield _Finding("verdict", rollout.verdict)
    if both_bad(evidence, rollout.plan):
        since = evidence.onsets["error_objective"].since
        reason = "champion and challenger both miss the error objective: a person must decide what answers patients"
        yield _Finding(BOTH_BAD, reason, since)
    watch = evidence.service.watch
    if rollout.stage == stages.WATCH and watch.n >= policy.min_n and watch.alarms(watch_limit(rollout.plan)):
        reason = f"the detector of the watch reached {watch_limit(rollout.plan):.4g}; rejected: error rate <= objective"
        yield _Finding("watch_errors", reason, evidence.onsets["error_objective"].since)
    outcomes, most = evidence.promoted, outcome_watch_limit(rollout.plan)
    if rollout.stage in stages.PROMOTED and outcomes.n >= policy.min_n and outcomes.detector.alarms(most):
        reason = (
            f"the detector of prediction errors reached {most:.4g} after n = {outcomes.n}; rejected: {PROMOTED_NULL}"
        )
        yield _Finding("watch_outcomes", reason, outcomes.onset.since)
    for rail in guardrails(evidence, rollout.plan):
        if rail.rejected:
            reason = f"E = {rail.peak:.4g} >= {rail.threshold:.4g} after n = {rail.n}; rejected: {rail.null}"
            yield _Finding(rail.name, reason, rail.bad_since)
    limit = rollout.opened_at + rollout.plan.horizon_s + policy.deadline_days * SECONDS_PER_DAY
    if now > limit and rollout.stage not in stages.PROMOTED:
        yield _Finding("deadline", f"undecided {policy.deadline_days:g} days after outcomes could mature; retired")


def _hold(rollout: RolloutState, evidence: Evidence, policy: RolloutPolicy) -> Iterator[tuple[_Finding, str]]:
    plan, stage = rollout.plan, rollout.stage
    if rollout.route is not RouteReading.AS_INTENDED:
        yield _Finding(f"routing_{rollout.route.value}", rollout.route_reason), stage
    if rollout.telemetry is Reading.CONFIG_ERROR:
        yield _Finding("telemetry_config", rollout.telemetry_reason), stage
    if rollout.telemetry is Reading.NO_DATA:
        ramping = not plan.initial and stage in (stages.APPROVAL, *map(str, policy.ramp))
        step_down = ramping and rollout.blind_s > policy.blind_limit_s
        reason = f"no telemetry for {rollout.blind_s:.0f} s: {rollout.telemetry_reason}"
        yield _Finding("blind", reason), stages.preceding(plan, stage) if step_down else stage
    if evidence.assignment.rejects(policy.sample_ratio_alpha):
        reason = f"arms do not hold the intended shares (E = {evidence.assignment.peak:.4g}); split evidence is invalid"
        yield _Finding("sample_ratio", reason), stage
    if drifted(evidence, plan):
        index = evidence.challenger_drift.stability_index(plan.challenger_scores)
        reason = f"the challenger's scores have left the distribution of its test split (PSI {index:.2f})"
        yield _Finding("score_drift", reason, evidence.onsets["score_drift"].since), stage


def _blockers(rollout: RolloutState, evidence: Evidence, policy: RolloutPolicy, now: float) -> Iterator[str]:
    """What is still missing for the next stage."""
    plan, stage = rollout.plan, rollout.stage
    if not plan.initial:
        for rail in guardrails(evidence, plan):
            if rail.e >= policy.harm_hold and rail.name != "score_drift":
                yield f"{rail.name}: E = {rail.e:.3g}, must be below {policy.harm_hold:g}"
            if rail.name in ESSENTIAL and rail.reading is not Reading.OK:
                yield f"{rail.name}: {rail.reading.value} (n = {rail.n}), which is neither good nor bad"
        if evidence.overdue > policy.max_missing_labels:
            yield f"{evidence.overdue:.0%} of the mature outcomes are missing, at most {policy.max_missing_labels:.0%}"
    if stage == stages.SHADOW:
        yield from _shadow_blockers(rollout, evidence, policy)
    elif stage == stages.APPROVAL:
        if plan.needs_approval and not rollout.approver:
            yield "waits for a signed approval by a person who is not the author"
    else:
        days = policy.watch_days if stage == stages.WATCH else policy.dwell_days
        stayed = (now - rollout.entered_at) / SECONDS_PER_DAY
        if stayed < days:
            yield f"{stayed:.1f} of {days:g} days in this stage"
        if stage != stages.WATCH and evidence.stage_requests < policy.min_requests:
            yield f"{evidence.stage_requests} of {policy.min_requests} challenger requests in this stage"
    if stage not in stages.PROMOTED and evidence.outputs.answered > policy.exposure_cap:
        yield f"exposure cap: {evidence.outputs.answered} answers by an unpromoted model, at most {policy.exposure_cap}"


def _shadow_blockers(rollout: RolloutState, evidence: Evidence, policy: RolloutPolicy) -> Iterator[str]:
    found = proof(evidence, rollout.plan)
    if found.reading is not Reading.OK:
        yield f"{evidence.paired.n} of {policy.min_shadow_pairs} mature pairs"
    if not found.proven:
        missing = f", {found.missing}" if found.missing else ""
        said = f"E = {found.e:.3g}, needs {found.threshold:g} (margin {rollout.plan.margin:.4g}{missing})"
        yield f"non-inferiority not proven: {said}"
    elif rollout.next_verdict:
        yield f"verdict: {rollout.next_verdict}"
