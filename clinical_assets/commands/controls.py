"""`clinical controls`: which checks give evidence for which control of a regulation, and what they said of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from clinical_assets.commands.signing_in import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clinical_assets.gates.verdict import CheckResult

console = Console(highlight=False)


def controls(
    cancer: Annotated[str | None, typer.Argument(help="cancer type; without it the map alone")] = None,
) -> None:
    """Which checks give evidence for which control of 21 CFR Part 11, ICH E6(R3), GMLP and the EU AI Act.

    With a cancer type, what its latest decision record says of each check. Evidence for a control is no statement of
    conformity; a control without checks is the user's own.
    """
    from clinical_assets.gates.regulatory.control_maps import MAPS, evidence_for

    results = _latest(cancer) if cancer else {}
    for title, mapped in MAPS.items():
        table = Table("control", "evidence", title=title, title_justify="left")
        evidence = evidence_for(mapped)
        for control in mapped:
            said = [f"{id} {results[id].verdict}" if id in results else id for id in evidence[control.name]]
            table.add_row(control.name, ", ".join(said) or "the user's own")
        console.print(table)


def _latest(cancer: str) -> Mapping[str, CheckResult]:
    """Raises:
    NoModel: nothing has been trained.
    typer.Exit: the model has no decision record.
    """
    from clinical_assets.standing_model import standing_model

    model = standing_model(cancer)
    signed = open_store().records().find(model.digest)
    if signed is None:
        console.print(f"{cancer}: model {model.digest[:12]} has no decision record; run `clinical backfill`")
        raise typer.Exit(1)
    console.print(f"{cancer}, model {model.digest[:12]}, record of {signed.record.issued_utc}")
    return {check.id: check for report in signed.record.reports.values() for check in report.checks}
