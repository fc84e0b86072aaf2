"""`clinical audit`: who did what, when and why; whether the trail is whole; a seal to keep elsewhere."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinical_assets.commands.signing_in import open_store
from clinical_assets.foundation.files import write_atomic

if TYPE_CHECKING:
    from clinical_assets.audit.seals import Seal
    from resources.ledger_store import LedgerStore

console = Console(highlight=False)
app = typer.Typer(help="The audit log: show, verify, seal.", no_args_is_help=True)


@app.command()
def show(
    subject: Annotated[
        str | None, typer.Argument(help="digest of a model or key (or its beginning), or cancer type")
    ] = None,
    action: Annotated[str | None, typer.Option(help="only this action, e.g. sign_approval")] = None,
    last: Annotated[int, typer.Option(min=1, help="how many of the latest")] = 50,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the entries to this file, in full")] = None,
) -> None:
    """Entries, oldest first: UTC, actor, action, subject, old and new, reason."""
    entries = [
        entry for entry in open_store().audit_log().entries(action=action)
        if subject is None or entry.subject.startswith(subject) or entry.payload.get("cancer") == subject
    ]  # fmt: skip
    table = Table("#", "UTC", "actor", "action", "subject", "old", "new", "reason")
    for entry in entries[-last:]:
        told = entry.payload
        row = (entry.seq, entry.at_utc, entry.actor, entry.action, entry.subject[:12], str(told.get("old", ""))[:12],
               str(told.get("new", ""))[:12], told.get("reason", ""))  # fmt: skip
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
    if json_file is not None:
        full = [{**vars(entry), "payload": dict(entry.payload)} for entry in entries]
        write_atomic(json_file, json.dumps(full, indent=2).encode())


@app.command()
def verify(
    witness: Annotated[Path | None, typer.Option(help="seal kept elsewhere, as `clinical audit seal` wrote it")] = None,
) -> None:
    """Every link, body and signature of log, records, statements and rollouts; and that the trail has no gap.

    Exit code 0 when all of it holds, 1 when something does not.
    """
    from clinical_assets.audit.seals import Seal

    faults = verified(open_store(), Seal.from_json(witness.read_bytes()) if witness else None)
    raise typer.Exit(1 if faults else 0)


def verified(store: LedgerStore, seal: Seal | None = None) -> int:
    """Look at every chain and the trail, say what was found, and return how many faults there are."""
    from clinical_assets.audit.trail import gaps

    log, records = store.audit_log(), store.records()
    states = {
        "audit log": log.verify_chain(seal),
        "decision records": records.verify_chain(),
        "statements": records.statements.verify_chain(),
        "rollouts": store.ledger().verify_chain(store.signer.key_store()),
    }
    faults = [f"{name}: {state.problem}" for name, state in states.items() if not state.ok]
    faults += [f"trail: {gap}" for gap in gaps(store.engine())]
    for name, state in states.items():
        console.print(f"{name}: {state.entries} entries{'' if state.ok else ', BROKEN'}")
    for fault in faults:
        console.print(f"[red]FAULT[/red] {fault}")
    console.print("the chains hold and the trail has no gap" if not faults else f"{len(faults)} faults")
    return len(faults)


@app.command()
def seal(out: Annotated[Path, typer.Argument(help="file to keep outside this machine")]) -> None:
    """A signed statement of where the log ends now: with it, a restored older copy of the database is noticed."""
    from clinical_assets.foundation.clock import utc_iso

    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(out, open_store().audit_log().seal(utc_iso(time.time())).to_json())
    console.print(f"sealed to {out}")
