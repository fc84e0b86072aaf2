"""`clinical advisories`: take over a snapshot of known vulnerabilities, for audits without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console(highlight=False)


def advisories(
    file: Annotated[Path, typer.Argument(help="OSV export for PyPI: all.zip, a directory of entries, or a JSON list")],
) -> None:
    """Import known vulnerabilities of Python packages from a file, and look up what is installed here.

    Fetch the export where there is a network (OSV publishes it as PyPI/all.zip) and carry it over. Its age counts from
    its newest entry. Exit code 1 when an installed distribution has a critical vulnerability.
    """
    from clinical_assets.foundation.home import Home
    from clinical_assets.gates.security.policy import SecurityPolicy
    from clinical_assets.gates.security.supply_chain.advisories import import_snapshot, look_up
    from clinical_assets.gates.security.supply_chain.distributions import installed
    from clinical_assets.gates.security.supply_chain.environment import SNAPSHOT

    target = Home.from_env().prepare().root / SNAPSHOT
    taken = import_snapshot(file, target)
    found = look_up(installed(), target)
    console.print(f"{taken.entries} entries on {taken.packages} packages, newest of {taken.taken_utc}")
    for one in sorted(found.found, key=lambda one: -(one.score or 0.0)):
        score = "severity not stated" if one.score is None else f"CVSS {one.score:g}"
        console.print(f"{one.package} {one.version}: {', '.join(one.ids)} ({score})")
    console.print(f"{found.audited} installed distributions looked up, {len(found.found)} with a known vulnerability")
    raise typer.Exit(int(any((one.score or 0.0) >= SecurityPolicy().cvss_block for one in found.found)))
