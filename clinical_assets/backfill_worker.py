"""A warm process of a backfill: imports are paid once, then cancer types come through a pipe, one run for each."""

from __future__ import annotations

import os
import signal
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Literal

from clinical_assets.foundation.home import Home
from clinical_assets.instance import QUIET, open_instance

if TYPE_CHECKING:
    import dagster as dg

STAGES = ("raw_trial_data", "features", "trained_model", "gate_verdict", "deployed_variant")
PROCESS_TAG = "clinical/process"
"""Which process executes a run, as host:pid, so that a later backfill can tell that it is gone."""

Status = Literal["ok", "refused", "failed", "unchanged", "skipped"]


@dataclass(frozen=True)
class Outcome:
    """`refused`: the gates answered no. `failed`: no answer. `skipped`: the data package is not installed.

    `discrimination` is Uno's C, or AUROC for a binary endpoint, on the locked test split.
    """

    cancer: str
    status: Status
    seconds: float = 0.0
    family: str = ""
    discrimination: float | None = None
    scope: str = ""
    reason: str = ""


def serve(connection: Connection, deploy: bool) -> None:
    """Run each cancer type received until None comes or the other end is gone.

    Sends the name of each stage as it begins, and an `Outcome` when the run is over.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; it ends this process if need be
    stages = STAGES if deploy else STAGES[:-1]
    with open_instance(Home.from_env()) as instance:
        from clinical_assets.definitions import build_defs

        job = build_defs().resolve_job_def("trial_to_route")
        while (cancer := _next(connection)) is not None:
            connection.send(run_partition(job, instance, cancer, stages, connection.send))
    os._exit(0)  # DuckDB's binding prints pages about its own reference counts when the interpreter is taken apart


def _next(connection: Connection) -> str | None:
    try:
        return connection.recv()
    except EOFError:
        return None


def run_partition(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    cancer: str,
    stages: tuple[str, ...],
    began: Callable[[str], None],
) -> Outcome:
    """One run, visible in the UI; `began` is called with the name of each stage as it begins."""
    import dagster as dg

    started = time.monotonic()
    run_id = str(uuid.uuid4())

    def follow(event: dg.EventLogEntry) -> None:
        if event.dagster_event and event.dagster_event.is_step_start and event.step_key in stages:
            began(str(event.step_key))

    instance.add_event_listener(run_id, follow)
    result = job.execute_in_process(
        instance=instance,
        run_config=QUIET,
        partition_key=cancer,
        asset_selection=[dg.AssetKey(name) for name in stages],
        raise_on_error=False,
        run_id=run_id,
        tags={PROCESS_TAG: process_name(os.getpid())},
    )
    shown = _metadata(result)
    verdict, model = shown.get("gate_verdict", {}), shown.get("trained_model", {})
    checks, errors = failed_checks(result), crashes(result)
    answered = result.success or (bool(checks) and not errors)
    return Outcome(
        cancer,
        "ok" if result.success else "refused" if answered else "failed",
        time.monotonic() - started,
        family=str(model.get("family", "")),
        discrimination=model.get("test_uno_c", model.get("test_auroc")),
        scope=str(verdict.get("scope", "")),
        reason="" if result.success else why(result),
    )


def process_name(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}"


def why(result: dg.ExecuteInProcessResult) -> str:
    """The failing checks first, then the errors."""
    return "; ".join(failed_checks(result) + crashes(result)) or "the run failed"


def failed_checks(result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        str(found.description)
        for found in result.get_asset_check_evaluations()
        if not found.passed and found.severity.value == "ERROR"
    ]


def crashes(result: dg.ExecuteInProcessResult) -> list[str]:
    """Errors other than a blocking check's stop."""
    found = []
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            if error.cls_name != "DagsterAssetCheckFailedError":
                found.append((error.cause or error).message.strip())
    return found


def _metadata(result: dg.ExecuteInProcessResult) -> dict[str, dict[str, Any]]:
    """Plain metadata values by asset."""
    shown: dict[str, dict[str, Any]] = {}
    for event in result.get_asset_materialization_events():
        if event.asset_key is not None:
            values = event.step_materialization_data.materialization.metadata
            shown[event.asset_key.to_user_string()] = {name: entry.value for name, entry in values.items()}
    return shown
