"""`clinical gate`: what the five gates say, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from clinical_assets.foundation.files import write_atomic

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clinical_assets.gates.verdict import CheckResult, GateReport

console = Console(highlight=False)
Cancer = Annotated[str, typer.Argument(help="cancer type, as listed by `clinical cancers`")]
STYLES = {"BLOCK": "red", "ERROR": "red", "INCONCLUSIVE": "yellow", "WARN": "yellow"}


def gate(
    cancer: Cancer,
    only: Annotated[str | None, typer.Option("--gate", help="one gate, e.g. performance; default all five")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="thresholds, their sources, remedies, details")] = False,
    everything: Annotated[bool, typer.Option("--all", help="show the checks that passed too")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="write the reports to this file")] = None,
) -> None:
    """Judge the model that stands now, by the functions that a run uses, without recording anything.

    The failing checks come first. Exit code 0 when the gates grant traffic, 1 when they grant less.
    """
    from clinical_assets.catalog import load_catalog
    from clinical_assets.gates.verdict import GateName, Scope
    from clinical_assets.gates.verdicts import limits, scope
    from clinical_assets.standing_model import judge_standing_model

    chosen = load_catalog()[cancer]
    if only is not None and only not in list(GateName):
        raise typer.BadParameter(f"no gate {only!r}; the gates are {', '.join(GateName)}", param_hint="--gate")
    facts, reports = judge_standing_model(chosen)
    shown = {name: report for name, report in reports.items() if only in (None, name.value)}
    for report in shown.values():
        _show(report, everything, explain)
    granted = scope(reports, chosen.tier, facts.waivers, facts.now)
    for limit in limits(reports, chosen.tier, facts.waivers, facts.now):
        console.print(f"limits the scope to {limit.scope}: {limit.gate} {limit.reason}")
    console.print(f"{chosen.slug}, model {facts.model_digest[:12]}: the gates grant [bold]{granted}[/bold]")
    if json_file is not None:
        document = {"scope": granted, "gates": {name: report.model_dump(mode="json") for name, report in shown.items()}}
        write_atomic(json_file, json.dumps(document, indent=2).encode())
    raise typer.Exit(0 if granted is Scope.TRAFFIC else 1)


def _show(report: GateReport, everything: bool, explain: bool) -> None:
    from clinical_assets.gate_checks import ordered
    from clinical_assets.gates.verdict import Verdict

    checks = [check for check in ordered(report.checks) if everything or check.verdict is not Verdict.PASS]
    passed = sum(check.verdict is Verdict.PASS for check in report.checks)
    title = f"{report.gate}: {report.verdict} ({passed} of {len(report.checks)} checks passed)"
    if not checks:
        console.print(title)
        return
    table = Table("check", "verdict", "what was found", title=title, title_justify="left", show_lines=explain)
    for check in checks:
        table.add_row(check.id, check.verdict, "\n".join(_lines(check, explain)), style=STYLES.get(check.verdict, ""))
    console.print(table)


def _lines(check: CheckResult, explain: bool) -> Iterable[str]:
    yield f"{check.title}: {check.reason}"
    if check.remedy:
        yield f"remedy: {check.remedy}"
    if explain:
        found = [f"{check.metric} {check.value:.4g}" if isinstance(check.value, float) else str(check.value or "")]
        found += [f"interval {check.interval[0]:.4g} to {check.interval[1]:.4g}"] if check.interval else []
        found += [f"n {check.n}"] if check.n is not None else []
        found += [f"events {check.events}"] if check.events is not None else []
        yield ", ".join(filter(None, found))
        if check.threshold:
            yield f"threshold: {check.threshold}; source: {check.threshold_source}"
