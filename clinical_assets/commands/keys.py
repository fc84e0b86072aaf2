"""`clinical keys`: who signs on this machine, and which keys no longer count."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from clinical_assets.commands.signing_in import asked, open_store
from clinical_assets.foundation.files import write_atomic

console = Console(highlight=False)
app = typer.Typer(help="Keys of the platform and of people: list, new, revoke, export-public.", no_args_is_help=True)
By = Annotated[str, typer.Option("--by", help="who does it, for the record", default_factory=getpass.getuser)]


@app.command("list")
def listed() -> None:
    """Every public key on file: whose, in use or retired, with passphrase or not, revoked when."""
    table = Table("name", "identity", "state", "passphrase")
    for key in _register().listed():
        state = f"revoked {key.revoked}" if key.revoked else "in use" if key.info.current else "retired or elsewhere"
        table.add_row(key.info.name, key.info.key_id, state, "yes" if key.info.protected else "no")
    console.print(table)


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="person, as in the signatures: letters, digits, _, @ and -")],
    by: By,
    passphrase: Annotated[bool, typer.Option(help="ask for a passphrase, which every signature will need")] = True,
    replace: Annotated[bool, typer.Option("--replace", help="retire the present key; what it signed stands")] = False,
    reason: Annotated[str, typer.Option(help="why, for the record")] = "key for a person who signs",
) -> None:
    """Make a key: private part mode 0600 on this machine, public part kept for ever."""
    from clinical_assets.audit.keys import PLATFORM
    from clinical_assets.audit.statements import key_name

    name = key_name(name)
    secret = asked(f"new passphrase of {name}", confirm=True) if passphrase and name != PLATFORM else None
    signer = _register().new(name, by, reason, time.time(), secret, replace)
    console.print(f"{name}: key {signer.key_id}{', protected by a passphrase' if secret else ''}")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="name of a person, or identity of a key as `clinical keys list` shows it")],
    by: By,
    reason: Annotated[str, typer.Option(help="why, for the record")],
) -> None:
    """Nothing that the key ever signed counts any more. For a lost or stolen key; retire others by `new --replace`."""
    key_id = _register().revoke(key, by, reason, time.time())
    console.print(f"key {key_id} is revoked; approvals, waivers and records that it signed no longer count")


@app.command("export-public")
def export_public(
    name: Annotated[str, typer.Argument(help="whose key")] = "platform",
    out: Annotated[Path | None, typer.Option(help="file; default the terminal")] = None,
) -> None:
    """The public key in use, in PEM, for whoever verifies elsewhere."""
    store = open_store().signer.key_store()
    pem = (store.directory / f"{name}.{store.current(name)}.pub").read_bytes()
    if out is None:
        console.print(pem.decode(), end="")
    else:
        write_atomic(out, pem)


def _register():
    from clinical_assets.audit.key_register import KeyRegister

    store = open_store()
    return KeyRegister(store.engine(), store.signer.key_store())
