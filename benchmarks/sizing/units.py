"""Unit costs: what one run, one answer, one log entry, one route and one file of the catalogue take.

CPU seconds where possible, which hold on a busy machine too; commits are timed, so a busy machine makes them slower.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

import httpx
import psutil
from sqlalchemy import create_engine, inspect, text

from benchmarks.measured_process import measure, single_threaded
from benchmarks.rollout_scale import ledger_at, mirrored
from clinical_assets.catalog import configs_directory, load_catalog
from clinical_assets.rollout.routing import RouteState
from clinical_assets.serving import arms
from clinical_assets.serving.client import tensors
from clinical_assets.serving.istio.routes import routes_for, sticky_patch, subsets_for
from clinical_assets.serving.kubernetes.names import Names

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
CLINICAL = str(Path(sys.executable).with_name("clinical"))


@dataclass(frozen=True)
class Units:
    """
    Attributes:
        run_*: one partition, raw data to verdict, in a pod of its own; `warm_cpu_s` in a process that is warm.
        check_cpu_s: to see that a partition is unchanged.
        tick_s: one look of the controller at an open rollout. fold_s: one logged prediction into evidence.
        answer_cpu_s: of a model server, log included. server_mib: its resident memory.
        log_*: one row of the prediction log, indexes included; commits of one row each, by 1 and by 8 writers.
        stored_mib, dagster_*, platform_rows: what one run leaves behind.
        route_bytes: of the largest route object, for one cancer type with an open rollout.
        catalogue_s: to read one file of the catalogue.
    """

    run_cpu_s: float
    run_wall_s: float
    run_mib: float
    warm_cpu_s: float
    check_cpu_s: float
    tick_s: float
    fold_s: float
    answer_cpu_s: float
    server_mib: float
    log_bytes: float
    log_rows_per_s: float
    commits_per_s: float
    commits_per_s_8: float
    stored_mib: float
    dagster_rows: float
    dagster_kib: float
    platform_rows: float
    route_bytes: float
    catalogue_s: float


def published() -> dict[str, float]:
    """From the files of other benchmarks."""
    speed = json.loads((RESULTS / "pipeline_speed.json").read_text())
    rollout = json.loads((RESULTS / "rollout_scale.json").read_text())
    runs = speed["cold"]["measured"].values()
    return {
        "run_cpu_s": mean(run["cpu_s"] for run in runs),
        "run_wall_s": mean(run["wall_s"] for run in runs),
        "run_mib": max(run["peak_mib"] for run in runs),
        "warm_cpu_s": speed["warm"]["cpu_s"] / speed["cancers"],
        "check_cpu_s": speed["unchanged"]["cpu_s"] / speed["cancers"],
        "tick_s": rollout["ticks"][-1]["ms_per_rollout"] / 1000,
        "fold_s": 1.0 / rollout["fold"][-1]["predictions_per_second"],
    }


def catalogue() -> dict[str, float]:
    started = time.process_time()
    load_catalog(configs_directory())
    return {"catalogue_s": (time.process_time() - started) / len(load_catalog())}


def routes() -> dict[str, float]:
    """JSON of our entries; Kubernetes adds field ownership to them."""
    state = RouteState("breast_invasive", "breast_invasive-0001", "a" * 64, "b" * 64, 10, mirror=True, pinned=True)
    parts = (routes_for(state, Names()), subsets_for(state), sticky_patch(state.cancer))
    return {"route_bytes": float(max(len(json.dumps(part)) for part in parts))}


def log(url: str, rows: int, commits: int) -> dict[str, float]:
    """Bytes a row, rows a second in large groups, and commits of one row: by one writer, and by eight at once."""
    ledger = ledger_at(url)
    entries = mirrored(rows // 2, "c0-0001", 1e9)
    started = time.perf_counter()
    for start in range(0, rows, 512):
        ledger.record_predictions(entries[start : start + 512])
    grouped = rows / (time.perf_counter() - started)
    with ledger.engine.connect() as connection:
        if ledger.engine.dialect.name == "postgresql":
            size = connection.execute(text("SELECT pg_total_relation_size('predictions')")).scalar_one()
        else:
            size = Path(str(ledger.engine.url.database)).stat().st_size

    def write(writer: int) -> None:
        for number in range(commits):
            ledger.record_predictions(mirrored(1, "c0-0001", 1e9, 10**7 * (writer + 1) + number)[:1])

    started = time.perf_counter()
    write(0)
    alone = commits / (time.perf_counter() - started)
    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(1, 9)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together = 8 * commits / (time.perf_counter() - started)
    return {"log_bytes": size / rows, "log_rows_per_s": grouped, "commits_per_s": alone, "commits_per_s_8": together}


@dataclass(frozen=True)
class Served:
    cpu_s: float
    rows: int
    resident_mib: float


def serve(root: Path, url: str, batches: tuple[int, ...]) -> list[Served]:
    """A real model server as a pod runs it, asked for `batches` answers in turn, 16 at a time."""
    os.environ["CLINICAL_DATABASE_URL"] = url
    from clinical_assets.serving.processes import python_path
    from tests.serving.conftest import CANCER, ROW, fit_model, free_ports, make_hospital

    hospital = make_hospital(root, (fit_model(1), fit_model(2)))
    hospital.approve(hospital.challenger)
    port = free_ports().blue
    command = [sys.executable, "-m", "clinical_assets.serving.model_server", "--cancer", CANCER]
    command += ["--digest", hospital.challenger, "--home", str(hospital.home.root), "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    watched = psutil.Process(process.pid)
    base = f"http://127.0.0.1:{port}/v2/models/{CANCER}"
    body = {"inputs": tensors([ROW])}
    routed = {arms.ARM: "challenger", arms.CHAMPION: hospital.champion, arms.CHALLENGER: hospital.challenger}
    routed |= {arms.WEIGHT: "100", arms.ROLLOUT: "r1"}

    async def ask(first: int, count: int) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=60.0) as http:

            async def one(lane: int) -> None:
                for number in range(first + lane, first + count, 16):
                    headers = {**routed, arms.PATIENT: f"{number:032x}", arms.REQUEST: f"q{number}"}
                    (await http.post(f"{base}/infer", json=body, headers=headers)).raise_for_status()

            await asyncio.gather(*(one(lane) for lane in range(16)))

    try:
        ready = f"{base}/versions/{hospital.challenger}/ready"
        for _ in range(600):
            try:
                if httpx.get(ready, trust_env=False).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        found, first = [], 0
        asyncio.run(ask(10**6, 50))
        for count in batches:
            before, rows = sum(watched.cpu_times()[:2]), _rows(url, "predictions")
            asyncio.run(ask(first, count))
            used = sum(watched.cpu_times()[:2]) - before
            found.append(Served(used, _rows(url, "predictions") - rows, watched.memory_info().rss / 2**20))
            first += count
        return found
    finally:
        process.terminate()
        process.wait(20)
        del os.environ["CLINICAL_DATABASE_URL"]


@dataclass(frozen=True)
class Left:
    """What a state directory holds after some runs."""

    stored_mib: float
    dagster_rows: int
    dagster_kib: float
    platform_rows: int

    def less(self, other: Left) -> Left:
        return Left(*(a - b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


def after_runs(home: Path, cancers: list[str]) -> Left:
    """Run `cancers` in a fresh or a used state directory, and look at all it holds."""
    cost = measure([CLINICAL, "backfill", *cancers, "--jobs", "1"], single_threaded(home), ROOT)
    if cost.exit_code:
        raise RuntimeError(cost.output[-2000:])
    kept = ("objects", "mlflow", "feast")
    size = sum(file.stat().st_size for part in kept for file in (home / part).rglob("*") if file.is_file())
    dagster = [file for file in (home / "dagster").rglob("*.db")]
    rows = sum(_all_rows(f"sqlite:///{file}") for file in dagster)
    return Left(
        size / 2**20,
        rows,
        sum(file.stat().st_size for file in dagster) / 2**10,
        _all_rows(f"sqlite:///{home}/ledger.db"),
    )


def _rows(url: str, table: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        count = connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
    engine.dispose()
    return count


def _all_rows(url: str) -> int:
    engine = create_engine(url)
    tables = inspect(engine).get_table_names()
    engine.dispose()
    return sum(_rows(url, table) for table in tables)
