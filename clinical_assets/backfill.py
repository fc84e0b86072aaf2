"""Many partitions over a few warm processes: what is unchanged costs a look, what fails stops nothing else."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from textwrap import shorten

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from clinical_assets.backfill_progress import BackfillProgress
from clinical_assets.backfill_worker import PROCESS_TAG, Outcome, process_name, serve
from clinical_assets.foundation.home import Home
from clinical_assets.instance import open_instance

REASON_WIDTH = 240
WORKER_MEMORY = 1.5 * 2**30
"""Bytes that a worker may need; with less memory there are fewer workers."""


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    cancer: str | None = None
    since: float = field(default_factory=time.monotonic)


def backfill(
    home: Home, cancers: Sequence[str], deploy: bool = False, jobs: int | None = None, again: bool = False
) -> list[Outcome]:
    """One run for each cancer type, raw data to verdict (with `deploy` to an open rollout), visible in the UI.

    After a crash the same call goes on where the last one ended: what was completed is unchanged.

    Args:
        jobs: warm processes; default one a core, fewer where memory is short.
        again: run unchanged cancer types too.
    """
    console = Console(stderr=True, highlight=False)
    with open_instance(home) as instance:
        forget_lost_runs(instance)
        known = {} if again else dict(_without_work(cancers, deploy))
        todo = [cancer for cancer in cancers if cancer not in known]
        with BackfillProgress(console, len(cancers)) as progress:
            for outcome in known.values():
                progress.finished(outcome)
            outcomes = {**known, **_run_all(todo, deploy, min(jobs or workers(), len(todo) or 1), progress)}
        forget_lost_runs(instance)
    return [outcomes[cancer] for cancer in cancers if cancer in outcomes]


def workers() -> int:
    """Processes that the machine carries: one a core, each with `WORKER_MEMORY`."""
    import psutil

    return max(1, min(len(os.sched_getaffinity(0)), int(psutil.virtual_memory().available / WORKER_MEMORY)))


def forget_lost_runs(instance: object) -> None:
    """Mark runs as failed whose process on this machine is gone: a killed backfill leaves no run `started` for ever."""
    import dagster as dg

    running = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    for run in instance.get_runs(running):  # pyright: ignore[reportAttributeAccessIssue]
        host, _, pid = run.tags.get(PROCESS_TAG, "").partition(":")
        if host == process_name(0).partition(":")[0] and not _alive(int(pid)):
            instance.report_run_failed(run, "the process that ran it is gone")  # pyright: ignore[reportAttributeAccessIssue]


def _alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _without_work(cancers: Sequence[str], deploy: bool) -> Iterator[tuple[str, Outcome]]:
    """Cancer types that need no run: unchanged ones, and those whose data package is not installed."""
    from clinical_assets.catalog import load_catalog
    from clinical_assets.definitions import default_resources
    from clinical_assets.evaluation import load_headline
    from clinical_assets.freshness import stale_asset
    from clinical_assets.references import ModelReference, VerdictReference
    from clinical_assets.trials.errors import SourceError

    resources = default_resources()
    store, handed_on, ledger = (resources[name] for name in ("object_store", "io_manager", "ledger_store"))
    for slug in cancers:
        try:
            stale = stale_asset(load_catalog()[slug], store, handed_on, ledger)
        except SourceError as error:
            yield slug, Outcome(slug, "skipped", reason=str(error))
            continue
        if stale or deploy:
            continue
        model = handed_on.find("trained_model", slug, ModelReference)
        verdict = handed_on.find("gate_verdict", slug, VerdictReference)
        numbers = load_headline(store.fetch("predictions", slug, model.digest))
        measured = numbers.get("uno_c", numbers.get("auroc"))
        yield slug, Outcome(slug, "unchanged", 0.0, model.family, measured, verdict.scope)


def _run_all(cancers: Sequence[str], deploy: bool, jobs: int, progress: BackfillProgress) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    waiting = list(reversed(cancers))
    with _single_threaded_children():
        pool = [_start(deploy) for _ in range(jobs if waiting else 0)]
        try:
            for worker in pool:
                _hand_out(worker, waiting, progress)
            while busy := [worker for worker in pool if worker.cancer is not None]:
                ready = wait([end for worker in busy for end in (worker.connection, worker.process.sentinel)])
                for worker in busy:
                    if worker.connection in ready or worker.process.sentinel in ready:
                        _listen(worker, outcomes, waiting, progress, lambda: _start(deploy))
        except KeyboardInterrupt:
            progress.note("interrupted; the same command goes on from here")
        finally:
            for worker in pool:
                if worker.cancer is not None:
                    worker.process.terminate()
                worker.connection.close()
                worker.process.join()
    return outcomes


def _listen(
    worker: _Worker,
    outcomes: dict[str, Outcome],
    waiting: list[str],
    progress: BackfillProgress,
    start: Callable[[], _Worker],
) -> None:
    """Take one message of a worker; a worker that died is replaced, and its cancer type has failed."""
    cancer = str(worker.cancer)
    try:
        said = worker.connection.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        code = worker.process.exitcode or 0
        end = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        said = Outcome(cancer, "failed", time.monotonic() - worker.since, reason=f"its process was {end}")
        if waiting:
            fresh = start()
            worker.process, worker.connection = fresh.process, fresh.connection
    if isinstance(said, Outcome):
        outcomes[cancer] = said
        progress.finished(said)
        _hand_out(worker, waiting, progress)
    else:
        progress.stage(cancer, said)


def _hand_out(worker: _Worker, waiting: list[str], progress: BackfillProgress) -> None:
    worker.cancer = waiting.pop() if waiting else None
    if worker.cancer is not None:
        worker.since = time.monotonic()
        worker.connection.send(worker.cancer)
        progress.began(worker.cancer)


def _start(deploy: bool) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a forked child would share connections and torch's threads
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, deploy), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)  # pyright: ignore[reportArgumentType]


@contextmanager
def _single_threaded_children() -> Iterator[None]:
    """One thread for the numerical libraries of each worker: the workers already fill the cores."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def exit_code(outcomes: Sequence[Outcome], asked: int) -> int:
    """0 when every cancer type has an answer, be it a refusal or "its package is not installed"; else 1."""
    return int(len(outcomes) < asked or any(outcome.status == "failed" for outcome in outcomes))


def summary(outcomes: Sequence[Outcome], seconds: float) -> Group:
    """The answers, worst first; under the table why there is no model, or none that may be deployed."""
    from clinical_assets.catalog import load_catalog

    catalog = load_catalog()
    order = ("failed", "refused", "skipped", "ok", "unchanged")
    counts = {status: sum(outcome.status == status for outcome in outcomes) for status in order}
    said = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    table = Table(title=f"{len(outcomes)} cancer types in {seconds:.0f} s: {said or 'none'}", title_justify="left")
    for column in ("cancer type", "data", "status", "model", "C / AUROC", "scope", "seconds"):
        table.add_column(column, overflow="fold")
    for o in sorted(outcomes, key=lambda outcome: order.index(outcome.status)):
        style = {"failed": "red", "refused": "yellow"}.get(o.status, "")
        measured = "-" if o.discrimination is None else f"{o.discrimination:.3f}"
        table.add_row(
            o.cancer, catalog[o.cancer].source.data_status, o.status, o.family or "-", measured, o.scope or "-",
            f"{o.seconds:.1f}", style=style,
        )  # fmt: skip
    reasons = [Text(f"{o.cancer}: {shorten(o.reason, REASON_WIDTH)}") for o in outcomes if o.reason]
    hint = [Text("in full: `clinical gate CANCER --explain`")] if counts["refused"] else []
    return Group(table, *reasons, *hint)


def as_json(outcomes: Sequence[Outcome], seconds: float) -> str:
    """For scripts: every outcome, and the wall time."""
    return json.dumps({"seconds": seconds, "outcomes": [vars(outcome) for outcome in outcomes]}, indent=2)
