"""Many partitions in one warm process: imports are paid once, a failing cancer type does not stop the others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from clinical_assets.foundation.home import Home
from clinical_assets.instance import QUIET, open_instance


@dataclass(frozen=True)
class Outcome:
    cancer: str
    ok: bool
    seconds: float
    scope: str
    reason: str


def backfill(home: Home, cancers: Sequence[str], deploy: bool) -> list[Outcome]:
    """One run for each cancer type, raw data to verdict (with `deploy` to an open rollout), visible in the UI."""
    console = Console(stderr=True, highlight=False)
    outcomes = []
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with (
        open_instance(home) as instance,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        from clinical_assets.definitions import build_defs

        job = build_defs().resolve_job_def("trial_to_route")
        task = progress.add_task("backfill", total=len(cancers))
        for cancer in cancers:
            progress.update(task, description=cancer)
            outcomes.append(_run(job, instance, cancer, deploy))
            progress.advance(task)
            if not console.is_terminal:
                last = outcomes[-1]
                console.print(f"{cancer}: {last.scope if last.ok else 'FAILED'} in {last.seconds:.1f} s {last.reason}")
    return outcomes


def _run(job: object, instance: object, cancer: str, deploy: bool) -> Outcome:
    import dagster as dg

    started = time.monotonic()
    names = ["raw_trial_data", "features", "trained_model", "gate_verdict", *(["deployed_variant"] if deploy else [])]
    result = job.execute_in_process(  # pyright: ignore[reportAttributeAccessIssue]
        instance=instance,
        run_config=QUIET,
        partition_key=cancer,
        asset_selection=[dg.AssetKey(name) for name in names],
        raise_on_error=False,
    )
    scope = ""
    for event in result.get_asset_materialization_events():
        shown = event.step_materialization_data.materialization.metadata
        if event.asset_key and event.asset_key.to_user_string() == "gate_verdict":
            scope = str(shown["scope"].value)
    return Outcome(cancer, result.success, time.monotonic() - started, scope, "" if result.success else why(result))


def why(result: object) -> str:
    """The failing checks first, then the errors."""
    checks = [
        f"{found.asset_key.to_user_string()}.{found.check_name}: {found.description}"
        for found in result.get_asset_check_evaluations()  # pyright: ignore[reportAttributeAccessIssue]
        if not found.passed and found.severity.value == "ERROR"
    ]
    errors = []
    for event in result.all_events:  # pyright: ignore[reportAttributeAccessIssue]
        if event.is_step_failure and event.step_failure_data.error:
            error = event.step_failure_data.error
            errors.append((error.cause or error).message.strip())
    return "; ".join(checks + errors) or "the run failed"


def summary(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title=f"{sum(o.ok for o in outcomes)} of {len(outcomes)} cancer types", title_justify="left")
    for column in ("cancer type", "run", "scope", "seconds", "why"):
        table.add_column(column, overflow="fold")
    for o in outcomes:
        table.add_row(o.cancer, "ok" if o.ok else "[red]failed[/red]", o.scope or "-", f"{o.seconds:.1f}", o.reason)
    return table
