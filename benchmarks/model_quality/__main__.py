"""`python -m benchmarks.model_quality`: the platform's search against what a careful analyst would fit by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, track

from benchmarks import tables
from benchmarks.model_quality.cohorts import Subjects, load_cohort
from benchmarks.model_quality.comparison import Summary, summarise
from benchmarks.model_quality.evaluation import Plan, key
from benchmarks.model_quality.procedures import ALL
from benchmarks.model_quality.report import markdown, sections
from benchmarks.model_quality.results import Results, ResultsError, sole_writer
from benchmarks.model_quality.running import Job, run_jobs
from clinical_assets.catalog import load_catalog
from clinical_assets.foundation.files import write_atomic
from clinical_assets.trials.errors import TrialDataError

HELP = """Compare the platform's whole search with untuned and tuned Cox (or logistic) regression, random forests and
XGBoost, on the same folds of every cohort of the catalogue.

The comparison is of learning procedures, so that it uses all subjects of a cohort: thin cohorts need every event, and
published figures do the same. Choose `--subjects training` while changing the platform's methods, so that the locked
test split, which later certifies single models, has had no say in them.

Time: about half an hour for the 58 cohorts of the full catalogue on two cores with the defaults, one to four minutes
for a handful of small ones. Every finished (cohort, procedure) is kept in the results file at once; the same command
continues after an interruption (kill -9 included), and runs again only what changed: data, plan, or the procedure's
code. Delete the file to start over.

Writes model_quality.json (all folds, machine, versions, seeds, digests), model_quality.md (the tables) and
model_quality.svg (differences by cohort) into --out.

Exit codes: 0 all finished, 1 some cohort or procedure failed (named in the report), 2 it could not run.
"""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
console = Console(highlight=False)


@app.command(help=HELP)
def main(
    cancers: Annotated[str, typer.Option(help="cancer types, separated by commas; default: all")] = "",
    procedures: Annotated[str, typer.Option(help=f"some of {','.join(ALL)}; default: all")] = "",
    folds: Annotated[int, typer.Option(min=2, max=20, help="outer folds")] = 5,
    repeats: Annotated[int, typer.Option(min=1, max=20, help="of the cross-validation; one above 3,000 subjects")] = 2,
    seed: Annotated[int, typer.Option(help="of the folds and of every procedure")] = Plan.seed,
    subjects: Annotated[Subjects, typer.Option(help="training leaves the locked test split closed")] = Subjects.ALL,
    jobs: Annotated[int, typer.Option(min=1, help="processes, one thread each")] = 2,
    out: Annotated[Path, typer.Option(help="directory of the results")] = Path("benchmarks/results"),
) -> None:
    plan = Plan(folds, repeats, seed, subjects)
    slugs = _names(cancers, tuple(load_catalog()), "--cancers")
    wanted = _names(procedures, ALL, "--procedures")
    path = out / "model_quality.json"
    try:
        with sole_writer(path):
            results = Results.open(path, plan)
            _run(results, _pending(results, slugs, wanted, plan), jobs)
            summary = summarise(results, slugs)
            _publish(summary, results, out)
    except ResultsError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    raise typer.Exit(1 if summary.errors else 0)


def _names(text: str, known: tuple[str, ...], option: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()] or list(known)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}", param_hint=option)
    return names


def _pending(results: Results, slugs: list[str], procedures: list[str], plan: Plan) -> list[Job]:
    """What is not finished under its present key, large cohorts first, so that none is left alone at the end."""
    jobs: list[tuple[int, Job]] = []
    for slug in track(slugs, "reading cohorts", console=console, transient=True):
        try:
            cohort = load_cohort(slug, plan.subjects)
        except TrialDataError as error:
            results.unreadable(slug, str(error))
            continue
        keys = {name: key(cohort, name, plan) for name in ALL}
        results.describe(slug, cohort.describe(), keys)
        todo = [name for name in procedures if not results.finished(slug, name)]
        jobs += [(cohort.outcomes.n, Job(slug, name, plan, keys[name])) for name in todo]
    return [job for _, job in sorted(jobs, key=lambda sized: -sized[0])]


def _run(results: Results, jobs: list[Job], processes: int) -> None:
    """Work through the jobs; each record is on disk before the bar moves."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("learning", total=len(jobs))
        for job, record in run_jobs(jobs, processes):
            results.keep(job.slug, job.procedure, record)
            progress.update(bar, advance=1, description=f"{job.slug}: {job.procedure}")
            if "error" in record:
                progress.console.print(f"[red]{job.slug}, {job.procedure}: {record['error']}[/red]")


def _publish(summary: Summary, results: Results, out: Path) -> None:
    tables.show(sections(summary), console)
    write_atomic(out / "model_quality.md", markdown(summary, results).encode())
    if summary.contests:
        from benchmarks.model_quality.figure import forest_plot

        forest_plot(summary, out / "model_quality.svg")
    console.print(f"{out}/model_quality.json, .md, .svg")


if __name__ == "__main__":
    app()
