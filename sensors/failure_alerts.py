"""A failed run is told to people."""

import dagster as dg

from sensors.alerts import alert


@dg.run_failure_sensor(
    name="failure_alerts",
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports failed runs with cancer type and reason; never with data.",
)
def failure_alerts(context: dg.RunFailureSensorContext) -> None:
    run = context.dagster_run
    alert(
        context.log,
        "run failed",
        run_id=run.run_id,
        job=run.job_name,
        cancer=run.tags.get("dagster/partition", ""),
        reason=(context.failure_event.message or "")[:500],
    )
