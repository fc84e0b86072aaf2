"""`python -m benchmarks.gate_power`: faulty releases against the five gates, and clean ones."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks import tables
from benchmarks.gate_power.fault import FAULTS, Severity
from benchmarks.gate_power.releases import build, standing
from benchmarks.gate_power.report import markdown, sections
from benchmarks.gate_power.running import Record, Task, run
from benchmarks.gate_power.summary import Summary
from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.files import write_atomic

COHORTS = ("colon", "prostate", "renal_wilms", "breast_fna", "leukemia_aml", "dlbcl", "rectum", "breast_biopsy")
"""Where faults are injected: survival and labels, 400 to 4,000 patients."""

HELP = """Inject release faults at three severities into real releases and count what the five gates stop, beside no
gate and beside a typical gate (accuracy, AUC, demographic parity, pickle scanner); and count clean releases blocked.

Without --home the releases are made first, by a backfill into a scratch directory. Writes gate_power.json (every
case), gate_power.md (tables) and gate_power.svg into --out.

Exit codes: 0 all judged, 1 some cancer type could not be (named in the report).
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
console = Console(highlight=False)


@app.command(help=HELP)
def main(
    home: Annotated[Path | None, typer.Option(help="state directory of finished releases; only caches grow")] = None,
    cohorts: Annotated[str, typer.Option(help="cancer types to inject faults into, separated by commas")] = ",".join(
        COHORTS
    ),
    clean: Annotated[str, typer.Option(help="cancer types judged clean; default: all")] = "",
    faults: Annotated[str, typer.Option(help="names of faults, separated by commas; default: all")] = "",
    graded: Annotated[int, typer.Option(help="cohorts, from the first, that get mild and severe faults too")] = 2,
    twins: Annotated[int, typer.Option(min=0, help="clean twins of each cohort with faults")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="processes, one thread each")] = 2,
    out: Annotated[Path, typer.Option(help="directory of the results")] = Path("benchmarks/results"),
) -> None:
    started = time.time()
    injected, others = _names(cohorts), _names(clean) or list(load_catalog())
    only = tuple(_names(faults))
    if unknown := [name for name in only if name not in FAULTS]:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; known: {', '.join(FAULTS)}", param_hint="--faults")
    everybody = list(dict.fromkeys([*injected, *others]))
    with tempfile.TemporaryDirectory(prefix="gate-power-") as scratch:
        root = (home or Path(scratch)).absolute()
        if home is None:
            build(root, everybody)
        os.environ.update({"CLINICAL_HOME": str(root), "DAGSTER_HOME": str(root / "dagster"), "OMP_NUM_THREADS": "1"})
        tasks = [
            Task(slug, twins, tuple(Severity) if place < graded else (Severity.MEDIUM,), only)
            for place, slug in enumerate(injected)
        ]
        tasks += [Task(slug, 0, ()) for slug in standing(everybody) if slug not in injected]
        summary = Summary([])
        for record in _finished(tasks, jobs):  # written each time: an interrupted run keeps what it has
            summary = Summary(sorted([*summary.records, record], key=lambda one: one.slug))
            _write(summary, out, time.time() - started)
    tables.show(sections(summary), console)
    console.print(f"{out}/gate_power.json, .md, .svg; {time.time() - started:.0f} s")
    raise typer.Exit(1 if any(record.problem for record in summary.records) else 0)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _finished(tasks: list[Task], jobs: int) -> Iterator[Record]:
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        for number, future in enumerate(as_completed([pool.submit(run, task) for task in tasks]), start=1):
            record = future.result()
            state = record.problem or f"{len(record.clean)} clean, {len(record.cases)} faulty releases"
            console.print(f"{number} of {len(tasks)}: {record.slug}: {state}")
            yield record


def _write(summary: Summary, out: Path, seconds: float) -> None:
    from benchmarks.gate_power.figure import bars

    out.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "machine": {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "wall_s": round(seconds, 1),
        **summary.document(),
        "records": [asdict(record) for record in summary.records],
    }
    write_atomic(out / "gate_power.json", json.dumps(document, indent=1).encode())
    write_atomic(out / "gate_power.md", markdown(summary).encode())
    if summary.cases:
        bars(summary, out / "gate_power.svg")


if __name__ == "__main__":
    app()
