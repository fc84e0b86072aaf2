"""The calendar: cancer types are retrained when their cron says so. Unchanged inputs cost almost nothing."""

from collections.abc import Callable, Iterator

import dagster as dg

from clinical_assets.catalog import load_catalog


def build_retraining_schedules(job_name: str) -> list[dg.ScheduleDefinition]:
    """One schedule for each distinct cron expression in the catalogue."""
    crons = sorted({cancer.retraining.cron for cancer in load_catalog().values() if cancer.retraining.enabled})
    return [
        dg.ScheduleDefinition(
            name="retraining" if number == 0 else f"retraining_{number + 1}",
            job_name=job_name,
            cron_schedule=cron,
            execution_fn=_requests(cron),
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Retrains every cancer type whose contract says `retraining.cron: {cron}`.",
        )
        for number, cron in enumerate(crons)
    ]


def _requests(cron: str) -> Callable[[dg.ScheduleEvaluationContext], Iterator[dg.RunRequest]]:
    def due(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        moment = context.scheduled_execution_time.isoformat()
        for slug, cancer in load_catalog().items():
            if cancer.retraining.enabled and cancer.retraining.cron == cron:
                yield dg.RunRequest(partition_key=slug, run_key=f"{slug}:{moment}")

    return due
