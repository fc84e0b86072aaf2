"""Moves traffic on evidence: one tick of every open rollout, each change an event on `deployed_variant`."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from clinical_assets import metadata
from clinical_assets.foundation.clock import SECONDS_PER_DAY, read_clock
from clinical_assets.foundation.home import Home
from resources.data_plane import ServingBackend, Telemetry, TrafficRouter
from resources.ledger_store import LedgerStore
from sensors.alerts import alert

if TYPE_CHECKING:
    from clinical_assets.rollout.entries import StoredTransition
    from clinical_assets.rollout.ledger import Ledger
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
    events = list(tick_all(ledger_store, traffic_router, telemetry, serving_backend))
    for change in events:
        tell(context.log, change)
    return dg.SensorResult(asset_events=events) if events else dg.SkipReason("no rollout changed its stage")


def tick_all(
    ledger_store: LedgerStore, traffic_router: TrafficRouter, telemetry: Telemetry, serving_backend: ServingBackend
) -> Iterator[dg.AssetMaterialization]:
    """Tick each open rollout once, the least recently decided first, and tell what changed."""
    from clinical_assets.rollout.entries import StaleLease
    from clinical_assets.rollout.tick import tick

    ledger = ledger_store.ledger()
    desired = serving_backend.desired_state()
    clock = read_clock(Home.from_env().clock)
    holder = f"sensor:{socket.gethostname()}:{os.getpid()}"
    started = time.monotonic()
    for rollout in ledger.rollouts(active=True):
        if time.monotonic() - started > BUDGET_S:
            return
        _place(ledger, desired, rollout.cancer)
        ports = (traffic_router.router(), telemetry.source(), traffic_router.authority())
        try:
            result = tick(rollout.id, ledger, *ports, clock, holder)
        except StaleLease as overtaken:
            logging.getLogger(__name__).warning("%s: left to the holder that came after: %s", rollout.id, overtaken)
            continue
        if result.transition is not None:
            yield event(ledger, result.transition)
        if not ledger.progress(rollout.id).is_open:
            _place(ledger, desired, rollout.cancer)
    _place(ledger, desired)


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
    """Alert people to a route that is lost, unreachable, or written by another hand."""
    facts = {name: str(change.metadata[name].value) for name in ("rule", "stage", "reason", "rollout")}
    if facts["rule"].startswith("routing_"):
        alert(log, "the route is not as intended", cancer=str(change.partition), **facts)


def event(ledger: "Ledger", stored: "StoredTransition") -> dg.AssetMaterialization:
    """A decision as the UI shows it: what, why, on which evidence."""
    from clinical_assets.rollout.plan import RolloutPlan

    decided = stored.transition
    status = RolloutPlan.model_validate(ledger.rollout_by_id(decided.rollout_id).policy).data_status
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
