"""`clinical backup` and `clinical restore`: everything that the platform keeps, in one folder with digests."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from clinical_assets.commands.signing_in import asked, open_store
from clinical_assets.foundation.home import Home

if TYPE_CHECKING:
    from clinical_assets.backup.manifest import Manifest

console = Console(highlight=False)


def backup(
    target: Annotated[str, typer.Argument(help="new folder, or any URL that fsspec knows, e.g. s3://bucket/monday")],
    private_keys: Annotated[
        bool, typer.Option("--private-keys", help="also the private keys, encrypted with a passphrase")
    ] = False,
) -> None:
    """Back up database, objects, registries and public keys while everything runs.

    Killed before its end, it leaves nothing that could be taken for a backup.
    """
    from clinical_assets.backup.making import back_up
    from clinical_assets.foundation.clock import utc_iso

    home, store = Home.from_env().prepare(), open_store()
    passphrase = asked("passphrase for the private keys", confirm=True) if private_keys else None
    started = time.monotonic()
    with _shown("backing up") as progress:
        manifest = back_up(home, store.engine(), target, utc_iso(time.time()), _objects(), passphrase, progress)
    _summary(manifest, f"backed up to {target} in {time.monotonic() - started:.1f} s")
    if private_keys is False:
        console.print(
            "private keys are not in it: without the pseudonym key, patients of open rollouts get other pseudonyms "
            "after a loss of this machine, and may change the arm; keep the keys elsewhere, or say --private-keys"
        )


def restore(
    source: Annotated[str, typer.Argument(help="folder or URL of a backup")],
    force: Annotated[bool, typer.Option("--force", help="over a state that is not empty; it is put aside")] = False,
    private_keys: Annotated[bool, typer.Option("--private-keys", help="also the private keys in the backup")] = False,
) -> None:
    """Put a backup back, every digest checked before anything is changed; then verify every chain.

    Exit code 0 when the restored chains hold, 1 when one does not.
    """
    from clinical_assets.backup.manifest import BackupError
    from clinical_assets.backup.restoring import restore as put_back
    from clinical_assets.serving.control import status

    home = Home.from_env()
    if home.root.exists() and status(home).supervisor is not None:
        raise BackupError("the data plane runs on this state; stop everything first (`clinical down`)")
    passphrase = asked("passphrase of the private keys in the backup") if private_keys else None
    started = time.monotonic()
    with _shown("restoring") as progress:
        done = put_back(home, home.database_url, source, _objects(), force, passphrase, progress)
    _summary(done.manifest, f"restored {source} of {done.manifest.created_utc} in {time.monotonic() - started:.1f} s")
    if done.replaced is not None:
        console.print(f"the former state is in {done.replaced}; remove it when you no longer need it")
    for name in done.other_keys:
        console.print(f"[yellow]{name}[/yellow] is another key than the one in the backup and was left alone")
    if done.manifest.home != str(home.root):
        console.print(
            f"the backup was made in {done.manifest.home}: files that MLflow and Feast name by their full path are "
            "found only there"
        )
    from clinical_assets.commands.audit import verified

    raise typer.Exit(1 if verified(open_store()) else 0)


def _objects() -> str:
    return os.environ.get("CLINICAL_OBJECTS_URL", "")


@contextmanager
def _shown(doing: str) -> Iterator[Callable[[str, int], None]]:
    done: Counter[str] = Counter()
    with Console(stderr=True, highlight=False).status(doing) as status:

        def progress(part: str, size: int) -> None:
            done[part] += size
            status.update(f"{doing} {part}: {decimal(done[part])}")

        yield progress


def _summary(manifest: Manifest, title: str) -> None:
    table = Table("part", "files", "size", title=title, title_justify="left")
    files, sizes = Counter[str](), Counter[str]()
    for path, stored in manifest.files.items():
        part = path.split("/", 1)[0]
        files[part] += 1
        sizes[part] += stored.size
    for part in files:
        table.add_row(part, str(files[part]), decimal(sizes[part]))
    console.print(table)
    for what, why in manifest.left_out.items():
        console.print(f"not in it: {what}: {why}")
