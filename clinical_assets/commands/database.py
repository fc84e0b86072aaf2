"""`clinical database`: the schema of the platform's own database. On one machine it is kept current by itself."""

from __future__ import annotations

import typer
from rich.console import Console

from clinical_assets.foundation.home import Home

console = Console(highlight=False)
app = typer.Typer(help="The platform's database: status, upgrade.", no_args_is_help=True)


@app.command()
def status() -> None:
    """The schema's revision and the one that this version works with. Exit code 0 when they are the same, else 1."""
    from clinical_assets.foundation.schema import HEAD, standing

    engine = _engine()
    found = standing(engine)
    console.print(f"{_shown(engine)}: schema {found.revision or 'none yet'}; this version works with {HEAD}")
    if not found.known:
        console.print("a newer version of the platform upgraded it: install that version, or restore an older backup")
    elif not found.current:
        console.print("`clinical database upgrade` brings it there; on one machine the first use does it")
    raise typer.Exit(0 if found.current else 1)


@app.command()
def upgrade() -> None:
    """Bring the schema to this version's, in one transaction; nothing to do when it is there. The Job of a cluster."""
    from clinical_assets.foundation.schema import HEAD
    from clinical_assets.foundation.schema import upgrade as run

    engine = _engine()
    before = run(engine)
    done = "is current" if before == HEAD else f"upgraded from {before or 'none'}"
    console.print(f"{_shown(engine)}: schema {HEAD}, {done}")


def _engine():
    from clinical_assets.foundation.database import engine_for

    return engine_for(Home.from_env().prepare().database_url)


def _shown(engine) -> str:
    return engine.url.render_as_string(hide_password=True)
