"""The `dagster.yaml` of a cluster and of one machine: opened on a real PostgreSQL, and the Job that a run becomes."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.test_utils import create_run_for_test
from dagster_k8s import K8sRunLauncher
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes import client
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from clinical_assets.gates.security.supply_chain import manifest_rules
from tests.deployment.rendering import ROOT, named, overlay

DAGSTER = ROOT / "deploy" / "dagster"
_numbers = itertools.count(1)
pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture
def in_a_database(postgresql_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables of an empty database with a password, as the secrets give them."""
    name = f"dagster_{next(_numbers)}"
    admin = create_engine(f"{postgresql_server}/postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    url = make_url(postgresql_server)
    for variable, value in {
        "DAGSTER_PG_HOST": f"{url.host}",
        "DAGSTER_PG_USERNAME": f"{url.username}",
        "DAGSTER_PG_PASSWORD": "p@ss:w/rd",  # the server trusts; that the characters survive in a URL is what counts
        "DAGSTER_PG_DB": name,
    }.items():
        monkeypatch.setenv(variable, value)


def opened(kind: str, home: Path, port: int | None) -> dg.DagsterInstance:
    """The instance of the shipped file; the port alone is that of the test's server."""
    settings = yaml.safe_load((DAGSTER / kind / "dagster.yaml").read_text())
    settings["storage"]["postgres"]["postgres_db"]["port"] = port
    (home / "dagster.yaml").write_text(yaml.safe_dump(settings))
    return dg.DagsterInstance.from_config(str(home))


@pytest.fixture(params=["kubernetes", "one-machine"])
def instance(
    request: pytest.FixtureRequest, in_a_database: None, postgresql_server: str, tmp_path: Path
) -> Iterator[dg.DagsterInstance]:
    with opened(request.param, tmp_path, make_url(postgresql_server).port) as found:
        yield found


def test_the_instance_keeps_runs_in_postgresql(instance: dg.DagsterInstance, postgresql_server: str) -> None:
    run = create_run_for_test(instance, tags={"dagster/partition": "colon"})
    engine = create_engine(f"{postgresql_server}/{os.environ['DAGSTER_PG_DB']}")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT run_id FROM runs")).scalars().all() == [run.run_id]
    engine.dispose()


def test_a_cancer_type_runs_once_at_a_time_and_a_failed_gate_is_not_tried_again(instance: dg.DagsterInstance) -> None:
    queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    each = {limit["key"]: limit for limit in queue.tag_concurrency_limits}["dagster/partition"]
    assert each == {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    assert 1 < queue.max_concurrent_runs < 1000
    assert instance.run_retries_enabled
    assert instance.get_settings("run_retries")["retry_on_asset_or_op_failure"] is False
    assert instance.run_monitoring_enabled


def launcher(home: Path, monkeypatch: pytest.MonkeyPatch) -> K8sRunLauncher:
    """The launcher of the shipped file; there is no cluster whose address it could read."""
    monkeypatch.setattr("dagster_k8s.launcher.load_kubernetes_config", lambda **_: None)
    shutil.copyfile(DAGSTER / "kubernetes" / "dagster.yaml", home / "dagster.yaml")
    for name in ("HOST", "USERNAME", "PASSWORD", "DB"):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", "x")
    found = InstanceRef.from_dir(str(home)).run_launcher
    assert isinstance(found, K8sRunLauncher)
    return found


def job_of(found: K8sRunLauncher, tags: dict[str, str]) -> dict[str, Any]:
    """What would be sent to the API server."""
    run = dg.DagsterRun(job_name="trial_to_route", run_id="0" * 32, tags=tags)
    context = K8sContainerContext.create_for_run(run, found, include_run_tags=True)
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config("clinical-assets:1", found), ["dagster", "api", "execute_run"], "dagster-run-0",
        context.run_k8s_config, "dagster-run-0", "run_worker", {}, [],
    )  # fmt: skip
    return client.ApiClient().sanitize_for_serialization(job) | {"apiVersion": "batch/v1", "kind": "Job"}


def test_a_run_becomes_a_job_that_the_api_accepts_and_our_rules_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(launcher(tmp_path, monkeypatch), {})
    kubernetes_validate.validate(job, "1.36", strict=True)
    job["metadata"]["namespace"] = "clinical"
    assert manifest_rules.breaches([*overlay("local-cluster"), job]) == []


def test_a_run_names_only_what_the_overlay_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = overlay("local-cluster")
    found = launcher(tmp_path, monkeypatch)
    template = job_of(found, {})["spec"]["template"]
    for secret in [*found.env_secrets, "clinical-keys"]:
        assert named(documents, "Secret", secret)
    assert named(documents, "ConfigMap", found.instance_config_map)
    assert named(documents, "ServiceAccount", template["spec"]["serviceAccountName"])
    asks = named(documents, "NetworkPolicy", "clinical-platform-asks")["spec"]["podSelector"]["matchExpressions"][0]
    assert template["metadata"]["labels"][asks["key"]] in asks["values"]


def test_the_values_of_the_official_chart_say_the_same() -> None:
    values = yaml.safe_load((DAGSTER / "helm-values.yaml").read_text())
    own = yaml.safe_load((DAGSTER / "kubernetes" / "dagster.yaml").read_text())
    queue = values["dagsterDaemon"]["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queue["tagConcurrencyLimits"] == own["concurrency"]["runs"]["tag_concurrency_limits"]
    assert queue["maxConcurrentRuns"] == own["concurrency"]["runs"]["max_concurrent_runs"]
    assert values["postgresql"]["postgresqlScheme"] == own["storage"]["postgres"]["postgres_db"]["scheme"]
    retries = values["dagsterDaemon"]["runRetries"]
    assert (retries["maxRetries"], retries["retryOnAssetOrOpFailure"]) == (own["run_retries"]["max_retries"], False)
