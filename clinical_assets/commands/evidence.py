"""`clinical evidence` and `clinical verify`: the evidence of one model version, and whether a copy of it holds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console(highlight=False)
Cancer = Annotated[str, typer.Argument(help="cancer type, as listed by `clinical cancers`")]


def evidence(
    cancer: Cancer,
    out: Annotated[Path | None, typer.Option(help="directory that receives a copy: folder and zip")] = None,
) -> None:
    """Write the evidence of the model that stands: report, card, decision record, signatures, lineage.

    Exit code 1 when the model has no decision record yet.
    """
    from clinical_assets.catalog import load_catalog
    from clinical_assets.evidence_bundle import export
    from clinical_assets.standing_model import standing_evidence

    chosen = load_catalog()[cancer]
    found = standing_evidence(chosen)
    if found is None:
        console.print(f"{cancer}: the model that stands has no decision record; run `clinical backfill {cancer}`")
        raise typer.Exit(1)
    folder, archive = (found.folder, found.archive) if out is None else export(found, out)
    console.print(f"{chosen.slug}, model {found.reference.model_digest[:12]}: evidence {found.reference.digest[:12]}")
    for title, path in (("report", folder / "report.html"), ("folder", folder), ("zip", archive)):
        console.print(f"{title:7}", Text(str(path)), soft_wrap=True)
    console.print("stored ", Text(found.lock), soft_wrap=True)


def verify(
    bundle: Annotated[Path, typer.Argument(help="folder or .zip")],
    key: Annotated[Path | None, typer.Option(help="the platform's public key, from its owner")] = None,
    at: Annotated[str | None, typer.Option(help="judge expiry at this moment, e.g. 2027-01-31T12:00:00+00:00")] = None,
) -> None:
    """Check an evidence bundle offline: digests, signatures, chain links, numbers, expiry. Needs no state.

    Exit code 0 when all of it holds, 1 when something does not, 2 when the bundle cannot be read.
    """
    from clinical_assets.evidence.verification import verify as look
    from clinical_assets.gates.facts import utc_seconds

    try:
        found = look(bundle, (str(key), key.read_bytes()) if key else None, utc_seconds(at) if at else time.time())
    except OSError as error:
        raise ValueError(str(error)) from error
    table = Table("", "looked at", "found", show_header=False, box=None)
    for step in found.steps:
        if step.faults:
            table.add_row("[red]FAULT[/red]", step.title, Text("\n".join(step.faults)))
        else:
            table.add_row("[green]holds[/green]", step.title, Text(step.found))
    console.print(Text(found.about))
    console.print(table)
    if not found.trusted:
        console.print(
            f"[yellow]UNTRUSTED KEY[/yellow]: {found.key_id} came with the bundle, so this shows that the bundle "
            "agrees with itself, not who made it; get the platform's public key from its owner and give --key",
            soft_wrap=True,
        )
    faulty = sum(bool(step.faults) for step in found.steps)
    console.print(
        "[bold]the bundle holds[/bold]" if found.ok else f"[bold red]{faulty} of {len(found.steps)} do not hold[/]"
    )
    raise typer.Exit(0 if found.ok else 1)
