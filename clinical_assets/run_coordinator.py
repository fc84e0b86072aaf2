"""Dagster's queue, which gives each run the pod of its partition, whoever made the run.

Named in the `dagster.yaml` of a cluster; the daemon and the webserver need the platform's image for it:

    run_coordinator: {module: clinical_assets.run_coordinator, class: PartitionRunCoordinator}
"""

from __future__ import annotations

from dagster import DagsterRun, QueuedRunCoordinator, SubmitRunContext

from clinical_assets.run_pods import tags_of

PARTITION = "dagster/partition"


class PartitionRunCoordinator(QueuedRunCoordinator):
    """Adds the tags of `run_pods` that a run does not have yet; those that somebody gave it stay."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        run = context.dagster_run
        missing = {key: value for key, value in tags_of(run.tags.get(PARTITION, "")).items() if key not in run.tags}
        if missing:
            self._instance.add_run_tags(run.run_id, missing)
        return super().submit_run(context)
