"""`clinical cancers`: what the catalogue holds, whose data they are, and what is missing to read them."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from clinical_assets.catalog import Catalog
    from clinical_assets.trials.sources.spec import SourceSpec

console = Console(highlight=False, width=None if sys.stdout.isatty() else 250)  # a file or pipe gets whole lines
KINDS_OF_DATA = {"real": "real", "real-simplified": "real", "real-thin": "thin", "simulated": "simulated"}


def cancers() -> None:
    """List the catalogue: whose data, how strong a claim, and the command that brings a missing package."""
    from clinical_assets.catalog import load_catalog, simulated_files

    catalog = load_catalog()
    width = max(map(len, catalog), default=0)
    _line(f"{'cancer type':<{width}}  {'task':<9}  {'data':<15}  {'tier':<8}  source", style="bold")
    for slug, cancer in catalog.items():
        source = cancer.source
        style = "yellow" if source.data_status == "simulated" else ""
        origin = f"{source.label} {package_state(source)}".strip()
        claim = f"{cancer.task:<9}  {source.data_status:<15}  {cancer.tier:<8}"
        _line(f"{slug:<{width}}  {claim}  {origin}  {cancer.title}", style=style)
    console.print(count(catalog))
    left_out = {file.stem for file in simulated_files()} - set(catalog)
    if left_out:
        switch = "`catalogue: {simulated: true}` in platform.yaml"
        console.print(f"{len(left_out)} simulated cohorts stay out until {switch} adds them")


def _line(text: str, style: str) -> None:
    """One line each; a narrow terminal cuts the title."""
    console.print(text, style=style, no_wrap=True, overflow="ellipsis")


def count(catalog: Catalog) -> str:
    """How many cancer types rest on patients, on few patients, on none. Nothing simulated counts as real."""
    found = Counter(KINDS_OF_DATA[cancer.source.data_status] for cancer in catalog.values())
    return ", ".join(f"{found[kind]} {kind}" for kind in ("real", "thin", "simulated"))


def package_state(source: SourceSpec) -> str:
    """Version of the package that holds the data, the command that installs it, or "" for data from elsewhere."""
    from clinical_assets.trials.errors import SourceError
    from clinical_assets.trials.sources.state import source_state

    if source.kind != "package":
        return ""
    try:
        return source_state(source)[-1]
    except SourceError as error:
        return f"missing: {str(error).partition('; run ')[2]}"
