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
app = typer.Typer(help="Keys of the platform, of people and for pseudonyms.", no_args_is_help=True)
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


@app.command("rotate-pseudonym")
def rotate_pseudonym(
    by: By,
    reason: Annotated[str, typer.Option(help="why, for the record")] = "regular rotation",
) -> None:
    """A new key for patients' pseudonyms. Patients in an open rollout keep theirs, and so their arm, until it ends."""
    from clinical_assets.serving.pseudonym_rotation import rotate

    store = open_store()
    done = rotate(store.ledger(), store.audit_log(), by, reason, time.time())
    console.print(f"pseudonym key {done.new} is in force; {done.old} is retired")
    for cancer in done.held:
        console.print(f"{cancer}: its open rollout keeps the former key; run `destroy-pseudonym` when it has ended")
    console.print("`clinical keys destroy-pseudonym` destroys retired keys: nobody can then link their pseudonyms")


@app.command("destroy-pseudonym")
def destroy_pseudonym(
    by: By,
    reason: Annotated[str, typer.Option(help="why, for the record")],
) -> None:
    """Destroy former pseudonym keys for good, and let ended rollouts' types take the new key. Backups hold copies.

    Exit code 1 when an open rollout still needs one.
    """
    from clinical_assets.serving.pseudonym_rotation import destroy_retired

    store = open_store()
    done = destroy_retired(store.ledger(), store.audit_log(), by, reason, time.time())
    console.print(f"destroyed: {', '.join(done.destroyed) or 'none'}")
    for key, cancers in done.in_use.items():
        console.print(f"key {key} stays: open rollouts of {', '.join(cancers)} need it; try again when they have ended")
    raise typer.Exit(1 if done.in_use else 0)


def _register():
    from clinical_assets.audit.key_register import KeyRegister

    store = open_store()
    return KeyRegister(store.engine(), store.signer.key_store())
