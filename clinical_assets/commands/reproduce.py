"""`clinical reproduce`: train the standing model again and put on record whether the same model comes out."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer
from rich.console import Console

from clinical_assets.commands.signing_in import open_store

console = Console(highlight=False)


def reproduce(
    cancer: Annotated[str, typer.Argument(help="cancer type, as listed by `clinical cancers`")],
    by: Annotated[str, typer.Option("--by", help="who repeats it, for the record", default_factory=getpass.getuser)],
) -> None:
    """Repeat the training of the standing model from the same data, code, settings and seed, and record the outcome.

    The test split is not opened: models and out-of-fold predictions are compared. Exit code 1 when they differ.
    """
    from clinical_assets.catalog import load_catalog
    from clinical_assets.reproduction import repeat

    chosen = load_catalog()[cancer]
    made = repeat(chosen, by, open_store())
    if made.same_model and made.prediction_digest == made.reproduced_digest:
        console.print(f"{chosen.slug}: the same model and the same predictions ({made.prediction_digest[:12]})")
        return
    console.print(f"{chosen.slug}: another model; out-of-fold risks differ by up to {made.largest_difference:.3g}")
    raise typer.Exit(1)
