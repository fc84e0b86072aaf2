"""`clinical retention`: predictions older than the limit are removed; what that costs is said before it is done."""

from __future__ import annotations

import getpass
import time
from typing import Annotated

import typer
from rich.console import Console

from clinical_assets.commands.signing_in import open_store

console = Console(highlight=False)


def retention(
    days: Annotated[
        int, typer.Option(envvar="CLINICAL_RETENTION_DAYS", help="predictions recorded in these last days stay")
    ],
    by: Annotated[str, typer.Option("--by", help="who does it, for the record", default_factory=getpass.getuser)],
    apply: Annotated[bool, typer.Option("--apply", help="remove; without it, only say what would be removed")] = False,
    reason: Annotated[str, typer.Option(help="why, for the record")] = "retention period over",
) -> None:
    """Remove old predictions, their outcomes and groups. Open rollouts are never touched; chains go on to verify."""
    from clinical_assets.foundation.clock import utc_iso
    from clinical_assets.rollout import retention as forgetting

    store = open_store()
    ledger, now = store.ledger(), time.time()
    plan = forgetting.plan_removal(ledger, days, now)
    console.print(
        f"recorded before {utc_iso(plan.before)}: {plan.predictions} predictions of {plan.requests} requests, "
        f"{len(plan.rollouts)} closed rollouts among them"
    )
    for rollout_id in plan.rollouts:
        console.print(
            f"  {rollout_id}: its decisions go on to replay, on kept states of evidence; those states can no longer be "
            "recomputed from single patients, and its late outcomes are refused"
        )
    for rollout_id, why in plan.kept.items():
        console.print(f"  [yellow]{rollout_id} stays[/yellow]: {why}")
    if not apply:
        console.print("nothing was removed; say --apply")
        return
    if not plan.predictions:
        return
    removed = forgetting.apply(ledger, store.audit_log(), plan, by, reason, now)
    console.print("removed: " + ", ".join(f"{rows} {table}" for table, rows in removed.items()))
