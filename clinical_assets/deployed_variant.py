"""Asset 5: the model behind the route. It opens a rollout; the rollout sensor moves the weights, on evidence."""

import time

import dagster as dg

from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.foundation.clock import read_clock
from clinical_assets.foundation.home import Home
from clinical_assets.gates.verdict import Scope
from clinical_assets.lineage import code_digest
from clinical_assets.partitions import cancer_types
from clinical_assets.references import ModelReference, VerdictReference
from clinical_assets.rollout import stages
from clinical_assets.rollout.champion import aliases_of, champion_of, previous_of
from resources.data_plane import ServingBackend, Telemetry, TrafficRouter
from resources.ledger_store import LedgerStore
from resources.model_registry import ModelRegistry, RegistryUnavailable
from resources.object_store import ObjectStore


class Deployment(dg.Config):
    """`person`: who asks, if a person does; a model that was rolled back is not opened again by a rule."""

    person: str = ""


@dg.asset(
    partitions_def=cancer_types,
    group_name="trial_to_route",
    kinds={"envoy"},
    owners=["team:platform"],
    code_version=code_digest("rollout"),
)
def deployed_variant(
    context: dg.AssetExecutionContext,
    config: Deployment,
    trained_model: ModelReference,
    gate_verdict: VerdictReference,
    object_store: ObjectStore,
    model_registry: ModelRegistry,
    ledger_store: LedgerStore,
    traffic_router: TrafficRouter,
    telemetry: Telemetry,
    serving_backend: ServingBackend,
) -> dg.MaterializeResult:
    """The challenger of an open rollout. Verifies the signed record of exactly this digest and refuses without it."""
    from clinical_assets.audit.records import Refused
    from clinical_assets.release import AUTHOR
    from clinical_assets.rollout.entries import RolloutConflict
    from clinical_assets.rollout.opening import open_rollout
    from clinical_assets.rollout_plan import plan_of
    from clinical_assets.serving.placement import reconcile

    cancer = load_catalog()[context.partition_key]
    ledger = ledger_store.ledger()
    champion = champion_of(ledger, cancer.slug)
    needed = Scope.SHADOW if champion else Scope.TRAFFIC
    try:
        signed = traffic_router.authority().require(trained_model.digest, cancer.slug, needed, time.time())
    except Refused as refusal:
        raise dg.Failure(f"{cancer.slug}: not deployed. {refusal}", allow_retries=False) from refusal
    if trained_model.digest == champion:
        return _result(cancer, trained_model, champion, "champion", reused=True)
    running = ledger.rollout(cancer.slug)
    if running is not None and running.challenger == trained_model.digest:
        return _result(cancer, trained_model, champion, ledger.progress(running.id).stage, reused=True)
    if running is not None:
        _supersede(running.id, trained_model.digest, ledger_store, traffic_router, telemetry)
    previous = previous_of(ledger, cancer.slug, champion)
    plan = plan_of(cancer, trained_model, champion, object_store, telemetry.source(), previous)
    try:
        now = read_clock(Home.from_env().clock).now()
        rollout = open_rollout(ledger, plan, AUTHOR, now, config.person)
    except RolloutConflict as conflict:
        raise dg.Failure(f"{cancer.slug}: not deployed. {conflict}", allow_retries=False) from conflict
    reconcile(ledger, serving_backend.desired_state(), cancer.slug)
    context.log.info(f"{cancer.slug}: rollout {rollout.id} opened on record {signed.digest[:12]}")
    try:
        context.log.info(model_registry.keep_aliases(cancer.slug, aliases_of(ledger, cancer.slug)))
    except RegistryUnavailable as outage:  # the sensor `registry_aliases` goes on with it
        context.log.warning(f"the rollout is open; its alias waits: {outage}")
    return _result(cancer, trained_model, champion, stages.OPENING, reused=False)


def _supersede(
    rollout_id: str, digest: str, ledger_store: LedgerStore, traffic_router: TrafficRouter, telemetry: Telemetry
) -> None:
    """End the open rollout of an older model: weight 0 first, then statistics start anew."""
    from clinical_assets.release import AUTHOR
    from clinical_assets.rollout.controller import Order
    from clinical_assets.rollout.opening import roll_back

    ledger = ledger_store.ledger()
    progress = ledger.progress(rollout_id)
    if progress.stage in stages.PROMOTED:
        raise dg.Failure(
            f"{progress.rollout.cancer}: model {progress.rollout.challenger[:12]} was promoted and is being watched; "
            "deploy the next one when the watch has ended (`clinical status`)",
            allow_retries=False,
        )
    if progress.stage in stages.EMERGENCY:
        raise dg.Failure(
            f"{progress.rollout.cancer}: champion and challenger both fail; a person must end that first "
            f"(`clinical rollback {progress.rollout.cancer}`)",
            allow_retries=False,
        )
    order = Order(AUTHOR, f"a newer model {digest[:12]} passed the gates", "superseded")
    clock = read_clock(Home.from_env().clock)
    result = roll_back(
        rollout_id,
        ledger,
        traffic_router.router(),
        telemetry.source(),
        traffic_router.authority(),
        clock,
        AUTHOR,
        order,
    )
    if result.stage != stages.ROLLED_BACK:
        raise dg.Failure(
            f"{progress.rollout.cancer}: the open rollout could not be ended: {result.error or result.status}"
        )


def _result(cancer: CancerType, model: ModelReference, champion: str, stage: str, reused: bool) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{model.digest}:{stage}"),
        metadata={
            "reused": reused,
            "data_status": cancer.source.data_status,
            "challenger": model.digest,
            "champion": champion or "none: first deployment",
            "stage": stage,
            "model": f"{model.family}, registry version {model.mlflow_version}",
        },
    )
