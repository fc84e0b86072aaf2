"""Many (cohort, procedure) pairs over a few processes; one that fails, or dies, leaves the others alone."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from benchmarks.model_quality.evaluation import Plan

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One procedure on one cohort."""

    slug: str
    procedure: str
    plan: Plan
    key: str


def run_jobs(jobs: list[Job], processes: int) -> Iterator[tuple[Job, dict[str, Any]]]:
    """Each job with its record, as they finish; a record holds the folds, or `error`.

    Processes are spawned with one arithmetic thread each and end with their parent. When one dies (memory, a crash in
    a library), the jobs that were running are repeated one at a time, so that only the culprit is lost.
    """
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # read by the children when they import their libraries
    waiting = list(jobs)
    while waiting:
        suspects: list[Job] = []
        with _pool(processes) as pool:
            running: dict[Future[dict[str, Any]], Job] = {}
            while (waiting and not suspects) or running:
                while waiting and not suspects and len(running) < processes:
                    job = waiting.pop(0)
                    try:
                        running[pool.submit(_work, job)] = job
                    except BrokenProcessPool:
                        suspects.append(job)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        suspects.append(job)
                    else:
                        yield job, future.result()
        for job in suspects:
            yield job, _alone(job)


def _alone(job: Job) -> dict[str, Any]:
    with _pool(1) as pool:
        try:
            return pool.submit(_work, job).result()
        except BrokenProcessPool:
            return {"key": job.key, "error": "the process died (out of memory, or a crash in a library)"}


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), initializer=_end_with_parent)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(job: Job) -> dict[str, Any]:
    import warnings

    from benchmarks.model_quality.cohorts import load_cohort
    from benchmarks.model_quality.evaluation import evaluate

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # convergence on hopeless cohorts; what came of it is in the measures
        try:
            return {"key": job.key, **evaluate(load_cohort(job.slug, job.plan.subjects), job.procedure, job.plan)}
        except Exception as error:  # reported beside the cohort; the other jobs go on
            return {"key": job.key, "error": f"{type(error).__name__}: {error}"}
