"""What the world says at a tick: telemetry, verdict, approval and the route as the data plane serves it."""

from __future__ import annotations

from dataclasses import dataclass

from clinical_assets.audit.records import Refused
from clinical_assets.audit.statements import StatementRefused
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout import stages
from clinical_assets.rollout.authority import RolloutAuthority
from clinical_assets.rollout.controller import RouteReading
from clinical_assets.rollout.entries import Rollout
from clinical_assets.rollout.evidence.latency import slower_than
from clinical_assets.rollout.evidence.news import Counters
from clinical_assets.rollout.inputs import Reading
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.routing import (
    NoData,
    RouteConflict,
    RouteState,
    RoutingError,
    RoutingUnavailable,
    ServiceCounts,
    Telemetry,
    TrafficRouter,
)


@dataclass(frozen=True)
class TelemetrySample:
    """Cumulative counts by digest (see `Counters`), `None` unless usable."""

    reading: Reading
    reason: str = ""
    counters: Counters | None = None


def sample(telemetry: Telemetry, plan: RolloutPlan) -> TelemetrySample:
    """Read the counters; what cannot be read is missing, never good and never bad.

    A first deployment has no route yet, and nothing to compare with: nothing is read for it.
    """
    if plan.initial:
        return TelemetrySample(Reading.OK)
    try:
        counts = telemetry.counts(plan.cancer)
    except (OSError, RoutingError) as error:
        return TelemetrySample(Reading.NO_DATA, str(error))
    except ValueError as error:
        return TelemetrySample(Reading.CONFIG_ERROR, str(error))
    if isinstance(counts, NoData):
        return TelemetrySample(Reading.NO_DATA, counts.reason)
    try:
        counters = {digest: _counters(variant, plan) for digest, variant in counts.items()}
    except ValueError as error:
        return TelemetrySample(Reading.CONFIG_ERROR, str(error))
    if plan.challenger not in counters:
        return TelemetrySample(Reading.INSUFFICIENT, "the challenger has no requests yet", counters)
    return TelemetrySample(Reading.OK, "", counters)


def _counters(counts: ServiceCounts, plan: RolloutPlan) -> tuple[int, ...]:
    """
    Raises:
        ValueError: the latency histogram has lost a limit of the plan.
    """
    if not plan.latency or not counts.latency:
        return counts.requests, counts.errors
    slow = (slower_than(counts.latency, limit.above_ms) for limit in plan.latency)
    return counts.requests, counts.errors, counts.latency[-1][1], *slow


@dataclass(frozen=True)
class RouteSight:
    """The route as served, and how it compares with the intended one."""

    reading: RouteReading
    reason: str
    served: RouteState | None

    def weight_of(self, digest: str) -> float | None:
        return None if self.served is None else float(self.served.weights.get(digest, 0))


def look(router: TrafficRouter, cancer: str, intended: RouteState | None, begun: RouteState | None) -> RouteSight:
    """Compare the served route with the intended one; `begun` is the target of a write that was interrupted."""
    try:
        served = router.read(cancer)
    except RoutingUnavailable as error:
        return RouteSight(RouteReading.UNREACHABLE, str(error), None)
    except RouteConflict as error:
        return RouteSight(RouteReading.MISMATCH, str(error), None)
    if same(served, intended) or (begun is not None and same(served, begun)):
        return RouteSight(RouteReading.AS_INTENDED, "", served)
    if served is None:
        return RouteSight(RouteReading.LOST, f"the route of {cancer} is gone; it should be {_said(intended)}", None)
    writer = router.last_writer(cancer)
    by = f", last written by {writer}" if writer else ""
    reason = f"the data plane serves {_said(served)}{by}; the ledger intends {_said(intended)}"
    return RouteSight(RouteReading.MISMATCH, reason, served)


def same(one: RouteState | None, other: RouteState | None) -> bool:
    """Whether two routes treat patients alike; who wrote them and test pins do not matter."""
    return _effect(one) == _effect(other)


def verdict_problem(authority: RolloutAuthority, plan: RolloutPlan, needed: Scope, wall: float) -> str:
    """Why the challenger lacks `needed`, "" if it does not."""
    try:
        authority.require(plan.challenger, plan.cancer, needed, wall)
    except Refused as error:
        return str(error)
    return ""


def fallback_problem(authority: RolloutAuthority, plan: RolloutPlan, wall: float) -> str:
    """Why the policy's fallback for two bad models cannot take over, "" if it can."""
    if plan.policy.both_bad == "refuse":
        return ""
    if not plan.previous:
        return "no model was certified before the champion"
    try:
        authority.require(plan.previous, plan.cancer, Scope.TRAFFIC, wall)
    except Refused as error:
        return str(error)
    return ""


def approver(authority: RolloutAuthority, rollout: Rollout, plan: RolloutPlan, stage: str, wall: float) -> str:
    """Who approved the promotion, "" if nobody did or nobody need."""
    if stage != stages.APPROVAL or not plan.needs_approval:
        return ""
    try:
        return authority.approver(rollout, wall)
    except StatementRefused:
        return ""


def _effect(route: RouteState | None) -> tuple[object, ...] | None:
    return None if route is None else (route.weights, route.challenger, route.mirror, route.refused)


def _said(route: RouteState | None) -> str:
    if route is None:
        return "no route"
    if route.refused:
        return f"no predictions ({route.champion[:12]} is refused)"
    shares = ", ".join(f"{digest[:12]} {weight} %" for digest, weight in route.weights.items())
    return f"{shares}{', mirrored' if route.mirror else ''}"
