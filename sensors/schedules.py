"""The calendar: when its cron says so, a cancer type whose inputs changed, or whose verdict ran out, is retrained."""

import dagster as dg

from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.trials.errors import SourceError
from resources.ledger_store import LedgerStore
from resources.object_store import ObjectStore, ReferenceIOManager


def build_retraining_schedules(job_name: str) -> list[dg.ScheduleDefinition]:
    """One schedule for each distinct cron expression in the catalogue."""
    crons = sorted({cancer.retraining.cron for cancer in load_catalog().values() if cancer.retraining.enabled})
    return [
        _schedule("retraining" if number == 0 else f"retraining_{number + 1}", cron, job_name)
        for number, cron in enumerate(crons)
    ]


def _schedule(name: str, cron: str, job_name: str) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=name,
        job_name=job_name,
        cron_schedule=cron,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Retrains every stale cancer type whose contract says `retraining.cron: {cron}`.",
    )
    def retraining(
        context: dg.ScheduleEvaluationContext,
        object_store: ObjectStore,
        io_manager: dg.ResourceParam[ReferenceIOManager],
        ledger_store: LedgerStore,
    ) -> list[dg.RunRequest] | dg.SkipReason:
        moment = context.scheduled_execution_time.isoformat()
        chosen = [c for c in load_catalog().values() if c.retraining.enabled and c.retraining.cron == cron]
        stale = [c.slug for c in chosen if _has_work(c, object_store, io_manager, ledger_store)]
        if not stale:
            return dg.SkipReason(f"{len(chosen)} cancer types, all unchanged or without their data package")
        return [dg.RunRequest(partition_key=slug, run_key=f"{slug}:{moment}") for slug in stale]

    return retraining


def _has_work(
    cancer: CancerType, object_store: ObjectStore, handed_on: ReferenceIOManager, ledger_store: LedgerStore
) -> bool:
    """A source that cannot be seen is no work: the sensor for new trial data reports it."""
    from clinical_assets.freshness import stale_asset

    try:
        return bool(stale_asset(cancer, object_store, handed_on, ledger_store))
    except SourceError:
        return False
