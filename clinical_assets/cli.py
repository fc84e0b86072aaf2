"""`clinical ...`: the platform from a terminal. Exit codes: 0 done, 1 the answer is no, 2 it could not run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinical_assets.commands import (
    advisories,
    audit,
    backup,
    cancers,
    controls,
    database,
    evidence,
    gates,
    keys,
    monitoring,
    new_cancer,
    reproduce,
    retention,
    rollouts,
    signatures,
)
from clinical_assets.foundation.files import write_atomic
from clinical_assets.foundation.home import Home

app = typer.Typer(
    help="Trial data to gated, signed, routed cancer models. State lives in $CLINICAL_HOME (default ./.state).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(highlight=False)
Cancer = Annotated[str, typer.Argument(help="cancer type, as listed by `clinical cancers`")]


@app.command()
def demo(
    json_file: Annotated[Path | None, typer.Option("--json", help="write every figure to this file")] = None,
) -> None:
    """Real trial data becomes a routed model; a bad one is stopped; a degrading one is rolled back."""
    from clinical_assets.demo.story import run

    raise typer.Exit(run(Home.from_env().prepare(), json_file))


@app.command()
def dev(port: Annotated[int, typer.Option(help="port of the Dagster UI")] = 3000) -> None:
    """Dagster UI, sensors and schedules on the state directory, with the local data plane beside them."""
    from clinical_assets.instance import prepare_dagster_home
    from clinical_assets.serving.control import ensure_running, stop

    home = Home.from_env().prepare()
    prepare_dagster_home(home)
    ports = ensure_running(home)
    console.print(
        f"gateway on http://127.0.0.1:{ports.gateway}, Dagster UI on http://127.0.0.1:{port}; Ctrl-C stops both"
    )
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-w", "workspace.yaml", "-p", str(port)]
    root = Path(__file__).parent.parent  # workspace.yaml, whose location name enqueued runs carry
    child = subprocess.Popen(command, cwd=root, env={**os.environ, "CLINICAL_HOME": str(home.root)})
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGINT))
    try:
        code = child.wait()
    except KeyboardInterrupt:
        code = child.wait()
    finally:
        stop(home)
    raise typer.Exit(code)


@app.command()
def up() -> None:
    """Run the local data plane (Envoy and two model servers) in the foreground until Ctrl-C."""
    from clinical_assets.foundation import logs
    from clinical_assets.serving.ports import Ports
    from clinical_assets.serving.supervisor import Supervisor

    logs.configure()
    Supervisor(Home.from_env().prepare(), Ports.from_env()).run()


@app.command()
def down() -> None:
    """Stop a data plane that runs in the background."""
    from clinical_assets.serving.control import stop

    console.print("stopped" if stop(Home.from_env()) else "no data plane was running")


app.command()(cancers.cancers)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a cancer type's YAML file, for editors."""
    from clinical_assets.catalog import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.command()
def backfill(
    names: Annotated[list[str] | None, typer.Argument(help="cancer types; none with --all")] = None,
    everything: Annotated[bool, typer.Option("--all", help="every cancer type of the catalogue")] = False,
    deploy: Annotated[bool, typer.Option(help="also open a rollout for each model that may be deployed")] = False,
    jobs: Annotated[int | None, typer.Option(min=1, help="processes; default one a core, as memory allows")] = None,
    again: Annotated[bool, typer.Option("--again", help="run unchanged cancer types too")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write every outcome to this file")] = None,
) -> None:
    """Raw data to signed verdict for many cancer types over a few warm processes, one run each.

    Unchanged cancer types cost a look; after an interruption the same command goes on where it ended. Exit code 0 when
    every cancer type has an answer (a refusal is one), 1 when a run failed.
    """
    from clinical_assets.backfill import as_json, exit_code, summary
    from clinical_assets.backfill import backfill as run
    from clinical_assets.catalog import load_catalog

    catalog = load_catalog()
    if not names and not everything:
        raise typer.BadParameter("name cancer types, or say --all")
    chosen = list(catalog) if everything else list(dict.fromkeys(catalog[name].slug for name in names or []))
    started = time.monotonic()
    outcomes = run(Home.from_env().prepare(), chosen, deploy, jobs, again)
    seconds = time.monotonic() - started
    console.print(summary(outcomes, seconds))
    if json_file is not None:
        write_atomic(json_file, as_json(outcomes, seconds).encode())
    raise typer.Exit(exit_code(outcomes, len(chosen)))


app.command()(new_cancer.new_cancer)
app.command()(gates.gate)
app.command()(controls.controls)
app.command()(advisories.advisories)
app.command()(evidence.evidence)
app.command()(evidence.verify)
app.command()(signatures.approve)
app.command()(signatures.waive)
app.command()(signatures.amend_policy)
app.command()(signatures.revoke)
app.command()(reproduce.reproduce)
app.command()(rollouts.rollouts)
app.command()(rollouts.explain)
app.command()(rollouts.replay)
app.command()(monitoring.exporter)
app.command()(monitoring.monitor)
app.command()(backup.backup)
app.command()(backup.restore)
app.command()(retention.retention)
app.add_typer(keys.app, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(database.app, name="database")


@app.command()
def status() -> None:
    """The data plane, and every rollout with its stage, weight and last reason."""
    from clinical_assets.foundation.clock import SystemClock, read_clock
    from clinical_assets.serving.control import status as data_plane
    from clinical_assets.trials.data_status import stamped

    home = Home.from_env()
    if not home.root.exists():
        console.print(f"no state yet in {home.root}; run `make demo`, or materialize an asset")
        return
    plane = data_plane(home)
    if plane.supervisor is None:
        console.print("data plane: not running (`clinical up` or `make dev` starts it)")
    else:
        said = ", ".join(f"{name} {'healthy' if ok else 'NOT healthy'}" for name, ok in plane.healthy.items())
        console.print(f"data plane: process {plane.supervisor}; {said}")
    if not isinstance(read_clock(home.clock), SystemClock):
        console.print("a replay clock is in force: clinical time is not real time")
    ledger = _ledger_store().ledger()
    table = Table("rollout", "stage", "challenger", "weight", "scores by arm", "last decision", "reason")
    for rollout in ledger.rollouts():
        progress = ledger.progress(rollout.id)
        last = progress.last.transition if progress.last else None
        scores = Counter[str]()
        for counted in ledger.arm_counts(rollout.id):
            scores[counted.arm] += counted.requests
        table.add_row(
            stamped(rollout.id, rollout.policy.get("data_status", "real")),
            progress.stage, rollout.challenger[:12], f"{progress.weight} %",
            ", ".join(f"{arm} {n}" for arm, n in sorted(scores.items())) or "-",
            last.action if last else "-", last.reason if last else "waiting for the first tick",
        )  # fmt: skip
    console.print(table)


@app.command()
def rollback(
    cancer: Cancer,
    name: Annotated[str, typer.Option(help="who decides")],
    reason: Annotated[str, typer.Option(help="why, for the record")],
) -> None:
    """Take the challenger off the route now, whatever the evidence says."""
    from clinical_assets.catalog import load_catalog
    from clinical_assets.foundation.clock import read_clock
    from clinical_assets.rollout import stages
    from clinical_assets.rollout.controller import Order
    from clinical_assets.rollout.opening import roll_back
    from resources.data_plane import data_plane

    store = _ledger_store()
    ledger = store.ledger()
    rollout = ledger.rollout(load_catalog()[cancer].slug)
    if rollout is None:
        console.print(f"{cancer}: no rollout is open")
        raise typer.Exit(1)
    plane = data_plane(store)
    door = plane["traffic_router"]
    clock = read_clock(Home.from_env().clock)
    ports = (door.router(), plane["telemetry"].source(), door.authority())
    result = roll_back(rollout.id, ledger, *ports, clock, f"cli:{os.getpid()}", Order(name, reason))
    if result.stage != stages.ROLLED_BACK:
        console.print(
            f"{cancer}: not confirmed yet ({result.error or result.status}); every later tick goes on with it"
        )
        raise typer.Exit(1)
    console.print(f"{cancer}: rollout {rollout.id} rolled back, challenger at 0 %")


def _ledger_store():
    from resources.ledger_store import LedgerStore
    from resources.signer import Signer

    return LedgerStore(signer=Signer())


def main() -> None:
    """Run the command line; expected errors end with one line and exit code 2."""
    from clinical_assets.audit.decision import Refused
    from clinical_assets.audit.keys import KeyPermissionError, UnknownKeyError
    from clinical_assets.audit.statements import StatementRefused
    from clinical_assets.backup.manifest import BackupError
    from clinical_assets.foundation.home import StateDirectoryError
    from clinical_assets.foundation.schema import SchemaError
    from clinical_assets.rollout.entries import LedgerError
    from clinical_assets.serving.control import DataPlaneError
    from clinical_assets.serving.ports import PortError
    from clinical_assets.serving.supervisor import AlreadyRunning

    expected = (
        ValueError, Refused, KeyPermissionError, StatementRefused, StateDirectoryError, LedgerError, DataPlaneError,
        AlreadyRunning, PortError, UnknownKeyError, SchemaError, BackupError,
    )  # fmt: skip
    code = 0
    try:
        app()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except expected as error:
        Console(stderr=True, highlight=False).print("[red]clinical:[/red]", Text(str(error)), soft_wrap=True)
        code = 2
    sys.stdout.flush()
    sys.stderr.flush()
    # DuckDB's binding prints pages about its own reference counts when the interpreter is taken apart.
    os._exit(code)


if __name__ == "__main__":
    main()
