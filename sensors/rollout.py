"""Moves traffic on evidence: one tick of every open rollout, each change an event on `deployed_variant`."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import BaseModel

from clinical_assets import metadata
from clinical_assets.foundation.clock import SECONDS_PER_DAY, read_clock
from clinical_assets.foundation.home import Home
from resources.data_plane import ServingBackend, Telemetry, TrafficRouter
from resources.ledger_store import LedgerStore
from sensors.alerts import alert

if TYPE_CHECKING:
    from clinical_assets.rollout.entries import Progress, StoredTransition
    from clinical_assets.rollout.ledger import Ledger
    from clinical_assets.rollout.plan import RolloutPlan
    from clinical_assets.rollout.tick import TickResult
    from clinical_assets.serving.placement import ServingBackend as ServingBackendPort
    from clinical_assets.trials.data_status import DataStatus

BUDGET_S = 40.0
"""Wall seconds for one evaluation, below the 60 s at which Dagster gives a sensor up; the rest waits."""


@dg.sensor(
    name="rollout",
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reads the evidence of every open rollout, decides, writes the route, and records why.",
)
def rollout_sensor(
    context: dg.SensorEvaluationContext,
    ledger_store: LedgerStore,
    traffic_router: TrafficRouter,
    telemetry: Telemetry,
    serving_backend: ServingBackend,
) -> dg.SensorResult | dg.SkipReason:
    told = RolloutCursor.model_validate_json(context.cursor or "{}")
    round_ = Round(told, context.log)
    events = list(tick_all(ledger_store, traffic_router, telemetry, serving_backend, round_))
    cursor = round_.cursor.model_dump_json()
    if not events:
        context.update_cursor(cursor)
        return dg.SkipReason("no rollout changed its stage")
    return dg.SensorResult(asset_events=events, cursor=cursor)


class RolloutCursor(BaseModel):
    """`after`: the rollout that was ticked last; the next evaluation goes on behind it, so that none starves.

    `told`: by rollout, the ledger row of a long hold that people were alerted to.
    """

    after: str = ""
    told: dict[str, int] = {}


class Round:
    """One evaluation: where it begins, and whom it has told."""

    def __init__(self, cursor: RolloutCursor | None = None, log: logging.Logger | None = None) -> None:
        self.cursor = cursor or RolloutCursor()
        self.log = log or logging.getLogger(__name__)
        self._started = time.monotonic()

    @property
    def over(self) -> bool:
        return time.monotonic() - self._started > BUDGET_S

    def order(self, standings: "list[Progress]") -> "list[Progress]":
        """All of them, those behind the cursor first."""
        names = [progress.rollout.id for progress in standings]
        self.cursor.told = {name: row for name, row in self.cursor.told.items() if name in names}
        begin = names.index(self.cursor.after) + 1 if self.cursor.after in names else 0
        return standings[begin:] + standings[:begin]

    def ticked(self, before: "Progress", result: "TickResult", wall: float) -> None:
        """Remember it, and alert people once to a hold that has lasted longer than the blind limit."""
        rollout, last = before.rollout, result.transition or before.last
        self.cursor.after = rollout.id
        if last is None or result.decision is None or result.decision.action != "HOLD":
            self.cursor.told.pop(rollout.id, None)
            return
        held = wall - last.recorded_at
        if held > rollout.policy["policy"]["blind_limit_s"] and self.cursor.told.get(rollout.id) != last.seq:
            facts = {"rule": result.decision.rule, "stage": result.stage, "reason": result.decision.reason}
            alert(self.log, "a rollout has been held", cancer=rollout.cancer, rollout=rollout.id, **facts)
            self.cursor.told[rollout.id] = last.seq


def tick_all(
    ledger_store: LedgerStore,
    traffic_router: TrafficRouter,
    telemetry: Telemetry,
    serving_backend: ServingBackend,
    round_: Round | None = None,
) -> Iterator[dg.AssetMaterialization]:
    """Tick each open rollout for which something is new, within the time of one evaluation, and tell what changed."""
    from clinical_assets.rollout import stages
    from clinical_assets.rollout.entries import StaleLease
    from clinical_assets.rollout.rest import Surroundings, rests_of
    from clinical_assets.rollout.tick import tick

    round_ = round_ or Round()
    ledger = ledger_store.ledger()
    desired = serving_backend.desired_state()
    clock = read_clock(Home.from_env().clock)
    holder = f"sensor:{socket.gethostname()}:{os.getpid()}"
    standings = ledger.standings(active=True)
    ports = (traffic_router.router(), telemetry.source(), traffic_router.authority())
    rests, around = rests_of(ledger.engine), Surroundings(ledger, *ports, _placed(desired), clock.now())
    seen = rests.look(around, standings)
    for progress in round_.order(standings):
        if round_.over:
            return
        rollout = progress.rollout
        if around.placed is None or rollout.id in seen.due:
            _place(ledger, desired, rollout.cancer)
        if rollout.id not in seen.due:
            continue
        try:
            result = tick(rollout.id, ledger, *ports, clock, holder, heard=rests.heard.get(rollout.id))
        except StaleLease as overtaken:
            round_.log.warning("%s: left to the holder that came after: %s", rollout.id, overtaken)
            round_.cursor.after = rollout.id
            continue
        rests.settle(around, seen, progress, result)
        round_.ticked(progress, result, ledger.wall())
        if result.transition is not None:
            change = event(ledger, result.transition)
            tell(round_.log, change)
            yield change
        if result.stage in stages.CLOSED:
            _place(ledger, desired, rollout.cancer)
    _place(ledger, desired)


def _placed(desired: "ServingBackendPort") -> "dict[str, object] | None":
    """What should be loaded, by cancer type; `None` where the back end cannot tell it at one look."""
    from clinical_assets.serving.desired import DesiredState

    return dict(desired.read()) if isinstance(desired, DesiredState) else None


def _place(ledger: "Ledger", desired: "ServingBackendPort", cancer: str = "") -> None:
    """Load and unload models; a back end that does not answer must not keep a rollback from being written."""
    from clinical_assets.rollout.routing import RoutingError
    from clinical_assets.serving.placement import reconcile

    try:
        if cancer:
            reconcile(ledger, desired, cancer)
        else:
            desired.finish_retiring()
    except RoutingError as error:
        logging.getLogger(__name__).warning("models wait for the serving back end: %s", error)


def tell(log: logging.Logger, change: dg.AssetMaterialization) -> None:
    """Alert people to a rollback, to drift, and to a route that is lost, unreachable, or written by another hand."""
    facts = {name: str(change.metadata[name].value) for name in ("rule", "stage", "reason", "rollout")}
    facts["cancer"] = str(change.partition)
    if facts["stage"] == "rolled_back":
        alert(log, "a rollout was rolled back", **facts)
    elif facts["rule"] == "both_bad":
        alert(log, "champion and challenger both fail: a person must decide", **facts)
    elif facts["rule"].startswith("routing_"):
        alert(log, "the route is not as intended", **facts)
    elif facts["rule"] == "score_drift":
        alert(log, "scores have drifted", **facts)


def event(ledger: "Ledger", stored: "StoredTransition") -> dg.AssetMaterialization:
    """A decision as the UI shows it: what, why, on which evidence."""
    from clinical_assets.rollout.plan import RolloutPlan

    decided = stored.transition
    plan = RolloutPlan.model_validate(ledger.rollout_by_id(decided.rollout_id).policy)
    status = plan.data_status
    shown: dict[str, Any] = {
        "data_status": status,
        "action": decided.action,
        "stage": decided.stage,
        "challenger_weight_percent": decided.weight,
        "observed_weight_percent": decided.observed_weight if decided.observed_weight is not None else "not observed",
        "reason": decided.reason,
        "rule": decided.rule,
        "actor": decided.actor,
        "rollout": decided.rollout_id,
        "challenger": stored.challenger,
        "champion": stored.champion or "none: first deployment",
        "policy_digest": stored.policy_digest,
        "patients": metadata.table([{"count": name, "n": n} for name, n in decided.n.items()]),
        "statistics": dg.MetadataValue.json(dict(decided.statistics)),
        "ledger_entry": stored.entry_hash,
        "traffic": metadata.picture(_traffic(ledger, decided.rollout_id, status)),
        **{name: metadata.picture(png) for name, png in _course(ledger, decided.rollout_id, plan)},
    }
    return dg.AssetMaterialization("deployed_variant", partition=decided.cancer, metadata=shown)


def _traffic(ledger: "Ledger", rollout_id: str, status: "DataStatus") -> bytes:
    from clinical_assets.modeling.plots import traffic_over_time
    from clinical_assets.trials.data_status import stamped

    history = ledger.transitions(rollout_id)
    opened = ledger.rollout_by_id(rollout_id).opened_at
    points = [
        {
            "time": (row.transition.at - opened) / SECONDS_PER_DAY,
            "planned": row.transition.weight / 100,
            "observed": None if row.transition.observed_weight is None else row.transition.observed_weight / 100,
        }
        for row in history
    ]
    return traffic_over_time(points, stamped(f"Rollout {rollout_id}", status))


def _course(ledger: "Ledger", rollout_id: str, plan: "RolloutPlan") -> "Iterator[tuple[str, bytes]]":
    """E-values and confidence sequences over the patients so far; nothing before the first patient with outcome."""
    from clinical_assets.modeling.plots import difference_over_patients, evidence_over_patients
    from clinical_assets.rollout.evidence_log import EvidenceLog
    from clinical_assets.rollout.guardrails import shares
    from clinical_assets.trials.data_status import stamped

    course = EvidenceLog(ledger.engine).course(rollout_id)
    limits = {name: 1 / share for name, share in shares(plan).items()}
    limits["non_inferiority"] = 1 / plan.policy.promotion_alpha
    for kind, count in (("paired", "pairs"), ("split", "split")):
        steps = [step for step in course if step[count]]
        if not steps:
            continue
        patients = [step[count] for step in steps]
        names = [name for name in limits if name in steps[0]["log_e"] and (kind == "paired" or name.startswith(kind))]
        tests = {name: [step["log_e"][name] for step in steps] for name in names}
        yield f"evidence_{kind}", evidence_over_patients(patients, tests, limits, stamped(rollout_id, plan.data_status))
        differences = [step["differences"][kind] for step in steps]
        title = stamped(f"{rollout_id}, prediction error, {kind} patients", plan.data_status)
        yield f"difference_{kind}", difference_over_patients(patients, differences, plan.margin, title)
