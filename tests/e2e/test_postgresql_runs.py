"""Many partitions at once with Dagster, the platform and MLflow on PostgreSQL; a daemon killed in a backfill."""

from __future__ import annotations

import multiprocessing
import os
import queue
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from sqlalchemy import create_engine, text

from clinical_assets.backfill_worker import STAGES, Outcome
from tests.e2e.conftest import BIN

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.xdist_group("postgresql")]

CANCERS = (
    *("breast_fna", "colon", "larynx", "melanoma"),
    *("mesothelioma", "lymphoma_follicular", "prostate", "thyroid_papillary"),
)
HEAVY = [
    *(
        "alembic",
        "dagster_postgres",
        "detect_secrets",
        "duckdb",
        "fairlearn.metrics",
        "feast",
        "feast.infra.offline_stores.duckdb",
    ),
    *(
        "greenwood",
        "httpx",
        "ibis",
        "matplotlib.pyplot",
        "mlflow.models",
        "model_signing.signing",
        "model_signing.verifying",
    ),
    *("pandera.pandas", "presidio_analyzer", "scipy.stats", "sklearn.linear_model", "torch"),
    *("clinical_assets.modeling.search", "clinical_assets.modeling.plots", "clinical_assets.trials.snapshot"),
]
"""Imported once and inherited by every process; not the definitions, which read the catalogue as they are imported."""
_names = count(1)


def databases(server: str, *purposes: str) -> list[str]:
    engine = create_engine(f"{server}/postgres", isolation_level="AUTOCOMMIT")
    urls = []
    with engine.connect() as connection:
        for purpose in purposes:
            name = f"runs_{purpose}_{next(_names)}"
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE template0"))
            urls.append(f"{server}/{name}")
    engine.dispose()
    return urls


def dagster_settings(url: str, **more: Any) -> str:
    storage = {"postgres": {"postgres_url": url}}
    return yaml.safe_dump({"storage": storage, "telemetry": {"enabled": False}, **more})


@pytest.fixture
def environment(postgresql_server: str, tmp_path: Path) -> dict[str, str]:
    """Eight cancer types of the catalogue with the floor as only family, and three empty databases."""
    from mlflow import MlflowClient

    dagster_url, platform_url, mlflow_url = databases(postgresql_server, "dagster", "platform", "mlflow")
    shipped, configs = Path(__file__).parents[2] / "configs", tmp_path / "configs"
    (configs / "cancers").mkdir(parents=True)
    for cancer in CANCERS:
        shutil.copy(shipped / "cancers" / f"{cancer}.yaml", configs / "cancers")
    (configs / "platform.yaml").write_text(yaml.safe_dump({"models": {"families": ["cox"], "folds": 3}}))
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text(dagster_settings(dagster_url))
    MlflowClient(mlflow_url).search_experiments(max_results=1)  # the schema, which two first users would both make
    return {
        "CLINICAL_HOME": str(tmp_path),
        "CLINICAL_CONFIGS": str(configs),
        "CLINICAL_DATABASE_URL": platform_url,
        "DAGSTER_HOME": str(tmp_path / "dagster"),
        "MLFLOW_TRACKING_URI": mlflow_url,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(tmp_path / "artifacts"),
        "OMP_NUM_THREADS": "1",
    }


def materialize(cancer: str, environment: Mapping[str, str], start: Any, said: Any) -> None:
    """One run from raw data to verdict in this process, begun when all the others are ready too."""
    os.environ.update(environment)
    os.chdir(environment["CLINICAL_HOME"])
    from clinical_assets.backfill_worker import run_partition
    from clinical_assets.definitions import build_defs
    from clinical_assets.foundation.home import Home
    from clinical_assets.instance import open_instance

    with open_instance(Home.from_env()) as instance:
        job = build_defs().resolve_job_def("trial_to_route")
        start.wait()
        said.put(run_partition(job, instance, cancer, STAGES[:-1], lambda _: None))


def test_eight_partitions_at_once_without_a_lock_error(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(HEAVY)
    start, said = processes.Barrier(len(CANCERS)), processes.Queue()
    workers = [processes.Process(target=materialize, args=(one, environment, start, said)) for one in CANCERS]
    for worker in workers:
        worker.start()
    outcomes: dict[str, Outcome] = {}
    try:
        for _ in CANCERS:
            found = said.get(timeout=200)
            outcomes[found.cancer] = found
    except queue.Empty:
        pytest.fail(f"no answer from {sorted(set(CANCERS) - set(outcomes))}")
    finally:
        for worker in workers:
            worker.join(10)
            worker.kill()

    assert {cancer: found.reason for cancer, found in outcomes.items() if found.status == "failed"} == {}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    records_agree(environment)


def records_agree(environment: Mapping[str, str]) -> None:
    """All three databases tell the same eight stories, and the chains between them hold."""
    from mlflow import MlflowClient

    from clinical_assets.audit.keys import KeyStore
    from clinical_assets.audit.log import AuditLog
    from clinical_assets.audit.records import RecordStore
    from clinical_assets.foundation.database import engine_for

    with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
        runs = instance.get_runs()
        assert sorted(run.tags["dagster/partition"] for run in runs) == sorted(CANCERS)
        assert all(run.is_finished for run in runs)
        for asset in ("raw_trial_data", "trained_model", "gate_verdict"):
            assert instance.get_materialized_partitions(dg.AssetKey(asset)) == set(CANCERS)
    registered = MlflowClient(environment["MLFLOW_TRACKING_URI"]).search_model_versions("")
    assert sorted(version.name for version in registered) == sorted(f"clinical.{cancer}" for cancer in CANCERS)
    engine, keys = (
        engine_for(environment["CLINICAL_DATABASE_URL"]),
        KeyStore(Path(environment["CLINICAL_HOME"]) / "keys"),
    )
    judged, seen = RecordStore(engine, keys).verify_chain(), AuditLog(engine, keys).verify_chain()
    assert (judged.ok, judged.entries) == (True, len(CANCERS))
    assert (seen.ok, seen.entries >= len(CANCERS)) == (True, True)


INGEST = """
import dagster as dg
import clinical_assets.definitions as platform

selection = dg.AssetSelection.assets("raw_trial_data").without_checks()
defs = dg.Definitions.merge(platform.defs, dg.Definitions(jobs=[dg.define_asset_job("ingest", selection=selection)]))
"""
"""The platform with a short job, so that a backfill of several runs takes seconds."""
INGESTED = ("larynx", "melanoma", "prostate")


@contextmanager
def daemon(environment: Mapping[str, str], workspace: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [str(BIN / "dagster-daemon"), "run", "-w", str(workspace)]
    with (workspace.parent / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=workspace.parent, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its code server and the runs of that are in its session
        process.wait()


def test_a_backfill_outlives_its_daemon(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "ingest.py").write_text(INGEST)
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"python_file": {"relative_path": "ingest.py"}}]}))
    settings = tmp_path / "dagster" / "dagster.yaml"
    more = {
        "concurrency": {"runs": {"max_concurrent_runs": 1}},
        "run_monitoring": {"enabled": True, "poll_interval_seconds": 2},
        "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False},
    }
    settings.write_text(yaml.safe_dump({**yaml.safe_load(settings.read_text()), **more}))
    child = {**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[2])}
    ask = [str(BIN / "dagster"), "job", "backfill", "-w", str(workspace), "-j", "ingest", "--noprompt"]
    command = [*ask, "--partitions", ",".join(INGESTED)]
    asked = subprocess.run(command, env=child, cwd=tmp_path, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stdout[-1000:] + asked.stderr[-2000:]

    with dg.DagsterInstance.from_config(str(tmp_path / "dagster")) as instance:

        def runs(*statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
            return list(instance.get_runs(dg.RunsFilter(statuses=list(statuses) or None)))

        def wait_for_runs(number: int, *statuses: dg.DagsterRunStatus) -> None:
            deadline = time.monotonic() + 300
            while len(runs(*statuses)) < number:
                assert time.monotonic() < deadline, (tmp_path / "daemon.log").read_text()[-3000:]
                time.sleep(0.2)

        with daemon(child, workspace) as first:
            wait_for_runs(1, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.SUCCESS)
            first.kill()  # the daemon alone: its code server finishes what it runs
            first.wait()
            with daemon(child, workspace):
                wait_for_runs(len(INGESTED), dg.DagsterRunStatus.SUCCESS)
                deadline = time.monotonic() + 60
                while (status := instance.get_backfills()[0].status.value) != "COMPLETED":
                    assert time.monotonic() < deadline, status
                    time.sleep(0.2)
        completed = [run.tags["dagster/partition"] for run in runs(dg.DagsterRunStatus.SUCCESS)]
        assert sorted(completed) == sorted(INGESTED)  # each once
        assert all(run.is_finished for run in runs())
    snapshots = list((tmp_path / "objects" / "snapshots").glob("*/*/manifest.json"))
    assert sorted(path.parts[-3] for path in snapshots) == sorted(INGESTED)
