"""`clinical rollouts`, `explain` and `replay`: where every rollout stands, why, and whether the record holds."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from clinical_assets.commands.signing_in import open_store
from clinical_assets.foundation.home import Home

if TYPE_CHECKING:
    from clinical_assets.rollout.controller import Decision
    from clinical_assets.rollout.entries import Progress
    from clinical_assets.rollout.ledger import Ledger
    from resources.ledger_store import LedgerStore

console = Console(highlight=False)
Which = Annotated[str, typer.Argument(metavar="ROLLOUT", help="id of a rollout, or a cancer type for its latest")]
EVERY_S = 2.0


def rollouts(
    watch: Annotated[bool, typer.Option("--watch", help="show it anew every two seconds until Ctrl-C")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
    everything: Annotated[bool, typer.Option("--all", help="those that are over, too")] = False,
) -> None:
    """Every open rollout: stage, share of the answers, patients, and how far the evidence has come."""
    ledger = open_store().ledger()
    if as_json:
        print(json.dumps([_row(progress) for progress in _standings(ledger, everything)], indent=2))
        return
    if not watch:
        console.print(_table(_standings(ledger, everything)))
        return
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        try:
            while True:
                live.update(_table(_standings(ledger, everything)), refresh=True)
                time.sleep(EVERY_S)
        except KeyboardInterrupt:
            return


def explain(
    rollout: Which, as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of text")] = False
) -> None:
    """Why a challenger has the share that it has: evidence against its limits, what is missing, who must sign."""
    from clinical_assets.rollout.explanation import explain as explained

    store = open_store()
    ledger = store.ledger()
    progress = _progress(ledger, rollout)
    found = explained(progress, _preview(store, ledger, progress) if progress.is_open else None)
    decisions = ledger.transitions(progress.rollout.id)
    if as_json:
        last = [{"number": n, **_decision(row)} for n, row in enumerate(decisions, start=1)]
        print(json.dumps({**asdict(found), "decisions": last}, indent=2))
        return
    head = f"{found.rollout}: stage {found.stage}, {found.weight} % of the answers. In this stage {found.now}."
    said = [Text(head)]
    for number, row in list(enumerate(decisions, start=1))[-5:]:
        told = row.transition
        moved = f"decision {number}: {told.action} to {told.stage} at {told.weight} %"
        said.append(Text(f"  {moved}, because {told.reason} ({told.rule}, {told.actor})"))
    table = Table("would mean harm", "patients or requests", "evidence", "limit", "way to the limit", "")
    for test in found.tests:
        figures = (str(test.n), f"{test.e:.3g}", f"{test.limit:.3g}", f"{test.way:.0%}")
        table.add_row(test.meaning, *figures, test.said, style="red" if test.way >= 1 else "")
    console.print(Group(*said, *([table] if found.tests else [])))
    if found.promotion:
        console.print(Text(f"no worse than the present model: {found.promotion}"))
    if found.next_stage:
        console.print(f"next stage: {found.next_stage}; {'missing:' if found.missing else 'nothing is missing'}")
    for reason in found.missing:
        console.print(Text(f"  - {reason}"))
    if found.signature:
        console.print(Text(f"signature: {found.signature}"))


def replay(
    rollout: Which,
    decision: Annotated[int | None, typer.Option(min=1, help="only this one, counted from 1")] = None,
) -> None:
    """Take every decision again from the ledger and the prediction log, and compare bit by bit with the record.

    Exit code 0 when all are the same, 1 on a difference.
    """
    from clinical_assets.rollout.evidence_log import EvidenceMismatch
    from clinical_assets.rollout.replay import replay as replayed

    ledger = open_store().ledger()
    rollout_id = _progress(ledger, rollout).rollout.id
    try:
        found = replayed(ledger, rollout_id)
    except EvidenceMismatch as mismatch:
        console.print(Text(f"DIFFERENT: {mismatch}"))
        raise typer.Exit(1) from mismatch
    chosen = [again for again in found if decision in (None, again.number)]
    if decision is not None and not chosen:
        raise typer.BadParameter(f"{rollout_id} has {len(found)} decisions", param_hint="--decision")
    table = Table("#", "decision", "rule", "evidence", "replayed")
    for again in chosen:
        told = again.stored.transition
        evidence = str(told.evidence.get("evidence", ""))[:12]
        verdict = "\n".join(again.differences) or "the same, bit by bit"
        cells = (str(again.number), f"{told.action} {told.stage} {told.weight} %", told.rule, evidence, verdict)
        table.add_row(*(Text(cell) for cell in cells), style="red" if again.differences else "")
    console.print(table)
    different = sum(bool(again.differences) for again in chosen)
    console.print(f"{rollout_id}: {len(chosen)} decisions replayed, {different} different")
    raise typer.Exit(1 if different else 0)


def _standings(ledger: Ledger, everything: bool) -> list[Progress]:
    return ledger.standings(active=None if everything else True)


def _progress(ledger: Ledger, named: str) -> Progress:
    """Raises LedgerError if neither a rollout nor a cancer type with one has this name."""
    of_cancer = ledger.standings(cancer=named)
    return of_cancer[-1] if of_cancer else ledger.progress(named)


def _preview(store: LedgerStore, ledger: Ledger, progress: Progress) -> Decision | None:
    """What a tick would decide now, with zero writes."""
    from clinical_assets.foundation.clock import read_clock
    from clinical_assets.rollout.tick import tick
    from resources.data_plane import data_plane

    plane = data_plane(store)
    door = plane["traffic_router"]
    ports = (door.router(), plane["telemetry"].source(), door.authority())
    clock = read_clock(Home.from_env().clock)
    return tick(progress.rollout.id, ledger, *ports, clock, f"cli:{os.getpid()}", dry_run=True).decision


def _row(progress: Progress) -> dict[str, Any]:
    """One rollout as `--json` shows it."""
    rollout = progress.rollout
    shown = {
        "rollout": rollout.id,
        "cancer": rollout.cancer,
        "data_status": rollout.policy.get("data_status", "real"),
        "open": progress.is_open,
        "stage": progress.stage,
        "weight": progress.weight,
        "challenger": rollout.challenger,
        "champion": rollout.champion,
        "opened_at": rollout.opened_at,
        "entered_at": progress.entered_at,
    }
    return shown | {"last_decision": None if progress.last is None else _decision(progress.last)}


def _decision(row: Any) -> dict[str, Any]:
    told = row.transition
    names = ("action", "stage", "weight", "rule", "reason", "actor", "at", "observed_weight", "n", "statistics")
    return {name: getattr(told, name) for name in names} | {"ledger_entry": row.entry_hash}


def _table(standings: list[Progress]) -> Table:
    from clinical_assets.trials.data_status import stamped

    table = Table("rollout", "stage", "share", "pairs", "harm", "no worse", "last decision", "reason")
    for progress in standings:
        last = progress.last.transition if progress.last else None
        figures: Mapping[str, Any] = last.statistics if last else {}
        observed = "" if last is None or last.observed_weight is None else f" (seen {last.observed_weight:g} %)"
        cells = (
            stamped(progress.rollout.id, progress.rollout.policy.get("data_status", "real")),
            progress.stage,
            f"{progress.weight} %{observed}",
            str(last.n.get("pairs_with_outcome", 0)) if last else "0",
            _nearest(figures),
            _proof(figures),
            last.action if last else "-",
            last.reason if last else "waiting for the first tick",
        )
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _nearest(figures: Mapping[str, Any]) -> str:
    """The harm test that is nearest to its limit."""
    rails = figures.get("guardrails", {})
    if not rails:
        return "-"
    name = max(rails, key=lambda rail: rails[rail]["peak"] / rails[rail]["threshold"])
    return f"{name} {rails[name]['peak']:.3g} of {rails[name]['threshold']:.3g}"


def _proof(figures: Mapping[str, Any]) -> str:
    found = figures.get("non_inferiority")
    return "-" if not found or not found["n"] else f"{found['e']:.3g} of {found['threshold']:.3g}"
