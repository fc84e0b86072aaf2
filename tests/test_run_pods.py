"""One run, one pod for each partition: the tags of real definitions, as Jobs that Kubernetes would accept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster_k8s.container_context import K8sContainerContext
from dagster_k8s.job import DagsterK8sJobConfig, UserDefinedDagsterK8sConfig, construct_dagster_k8s_job
from kubernetes import client

from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.run_pods import GPU, K8S_CONFIG, pod_tags

SLUG = "prostate"
DEPLOY = Path(__file__).parents[1] / "deploy"


@pytest.fixture
def in_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("CLINICAL_DEPLOYMENT", "kubernetes"),
        ("CLINICAL_MODEL_SERVER_IMAGE", "clinical:1"),
        ("CLINICAL_PROMETHEUS_URL", "http://prometheus:9090"),
        ("CLINICAL_PROMETHEUS_TOKEN", ""),
    ):
        monkeypatch.setenv(name, value)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance whose queue is the platform's, and that limits GPU runs."""
    settings = {
        "run_coordinator": {"module": "clinical_assets.run_coordinator", "class": "PartitionRunCoordinator"},
        "concurrency": {"runs": {"tag_concurrency_limits": [{"key": GPU, "value": "true", "limit": 2}]}},
        "telemetry": {"enabled": False},
    }
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(settings))
    with dg.DagsterInstance.from_config(str(tmp_path)) as found:
        yield found


def on_a_gpu(cancer: CancerType, **compute: Any) -> CancerType:
    return cancer.model_copy(
        update={
            "models": cancer.models.model_copy(update={"device": "cuda"}),
            "compute": cancer.compute.model_copy(update=compute),
        }
    )


def job_of(tags: dict[str, str]) -> dict[str, Any]:
    """What Dagster's launcher sends to the API server for a run with these tags."""
    run = dg.DagsterRun(job_name="trial_to_route", run_id="0" * 32, tags=tags)
    chosen = K8sContainerContext.create_for_run(run, None, include_run_tags=True).run_k8s_config
    settings = DagsterK8sJobConfig(
        job_image="clinical:1", dagster_home="/opt/dagster", instance_config_map="dagster", service_account_name="runs"
    )
    job = construct_dagster_k8s_job(settings, ["dagster", "api", "execute_run"], "run-1", chosen)
    return client.ApiClient().sanitize_for_serialization(job)


def made_by_the_daemon(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun:
    """A run of a backfill of assets, whose tags the daemon makes without asking the code location."""
    location = RegisteredCodeLocationOrigin("clinical_assets")
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), "trial_to_route")
    return create_run_for_test(instance, tags=tags, remote_job_origin=origin)


def container(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["template"]["spec"]["containers"][0]


def test_every_partition_of_the_catalogue_gives_a_valid_job() -> None:
    import kubernetes_validate

    for cancer in load_catalog().values():
        job = job_of(pod_tags(cancer))
        kubernetes_validate.validate(job, "1.31", strict=True)
        assert container(job)["resources"]["limits"]["memory"] == f"{cancer.compute.memory}Mi"
        assert job["spec"]["template"]["metadata"]["labels"]["clinical-assets/cancer"] == cancer.slug


def test_memory_grows_with_the_rows_that_are_expected() -> None:
    compute = load_catalog()[SLUG].compute
    memory = {rows: compute.model_copy(update={"rows": rows}).memory for rows in (10**3, 10**4, 10**5, 10**6)}
    measured = json.loads((Path(__file__).parents[1] / "benchmarks/results/pipeline_speed.json").read_text())["rows"]
    for rows, given in memory.items():
        assert 1.2 * measured[str(rows)]["peak_mib"] < given < 1.6 * measured[str(rows)]["peak_mib"]
    assert compute.model_copy(update={"memory_mib": 700}).memory == 700


def test_a_gpu_only_for_a_run_that_fits_networks_itself() -> None:
    import kubernetes_validate

    cancer = load_catalog()[SLUG]
    job = job_of(pod_tags(on_a_gpu(cancer)))
    kubernetes_validate.validate(job, "1.31", strict=True)
    assert container(job)["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert job["spec"]["template"]["spec"]["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert pod_tags(on_a_gpu(cancer))[GPU] == "true"
    for other in (cancer, on_a_gpu(cancer, runner="trainjob")):
        assert GPU not in pod_tags(other)
        assert "nvidia.com/gpu" not in container(job_of(pod_tags(other)))["resources"]["limits"]


def test_a_run_that_starts_train_jobs_sees_their_volume() -> None:
    import kubernetes_validate

    job = job_of(pod_tags(on_a_gpu(load_catalog()[SLUG], runner="trainjob")))
    kubernetes_validate.validate(job, "1.31", strict=True)
    (volume,) = job["spec"]["template"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"]["claimName"] == "clinical-fits"
    assert {"name": "CLINICAL_FITS", "value": "/var/lib/clinical/fits"} in container(job)["env"]


def test_what_the_launcher_demands_of_every_pod_stays() -> None:
    """Dagster merges the settings of a run into those of `dagster.yaml`."""
    settings = yaml.safe_load((DEPLOY / "dagster" / "kubernetes" / "dagster.yaml").read_text())["run_launcher"][
        "config"
    ]
    launcher = K8sContainerContext(run_k8s_config=UserDefinedDagsterK8sConfig.from_dict(settings["run_k8s_config"]))
    own = UserDefinedDagsterK8sConfig.from_dict(json.loads(pod_tags(load_catalog()[SLUG])[K8S_CONFIG]))
    merged = launcher.merge(K8sContainerContext(run_k8s_config=own)).run_k8s_config
    limits = merged.container_config["resources"]["limits"]
    assert limits == {"cpu": "2", "memory": f"{load_catalog()[SLUG].compute.memory}Mi"}
    assert merged.container_config["security_context"]["read_only_root_filesystem"] is True
    assert merged.pod_spec_config["security_context"]["run_as_non_root"] is True
    assert merged.pod_template_spec_metadata["labels"]["app.kubernetes.io/part-of"] == "clinical-platform"
    assert merged.pod_template_spec_metadata["labels"]["clinical-assets/cancer"] == SLUG


def test_runs_of_jobs_schedules_and_sensors_carry_their_pod(in_a_cluster: None) -> None:
    from clinical_assets.definitions import build_defs

    job = build_defs().resolve_job_def("trial_to_route")
    request = dg.RunRequest(partition_key=SLUG).with_resolved_tags_and_config(job, [], None)
    assert json.loads(request.tags[K8S_CONFIG])["container_config"]["resources"]["requests"]["cpu"] == "1"
    assert request.tags["dagster/partition"] == SLUG
    assert request.tags["dagster/retry_on_asset_or_op_failure"] == "false"


def test_on_one_machine_a_run_has_no_pod() -> None:
    from clinical_assets.partitions import cancer_types

    assert cancer_types.get_tags_for_partition_key(SLUG) == {"dagster/partition": SLUG}


def test_each_partition_is_a_run_of_its_own() -> None:
    from clinical_assets.definitions import build_defs

    graph = build_defs().resolve_asset_graph()
    policies = {graph.get(key).backfill_policy for key in graph.get_all_asset_keys()}
    assert policies == {None} or {policy.max_partitions_per_run for policy in policies if policy} == {1}


def test_a_run_that_the_daemon_made_gets_its_pod_in_the_queue(in_a_cluster: None, instance: dg.DagsterInstance) -> None:
    submitted = made_by_the_daemon(instance, {"dagster/partition": SLUG, "dagster/max_retries": "0"})
    instance.run_coordinator.submit_run(dg.SubmitRunContext(submitted, workspace=None))  # pyright: ignore
    tags = instance.get_run_by_id(submitted.run_id).tags  # pyright: ignore[reportOptionalMemberAccess]
    assert container(job_of(tags))["resources"]["limits"]["memory"] == f"{load_catalog()[SLUG].compute.memory}Mi"
    assert tags["dagster/max_retries"] == "0"  # what somebody set stays


def test_the_queue_keeps_its_limits(instance: dg.DagsterInstance) -> None:
    limits = instance.get_concurrency_config().run_queue_config.tag_concurrency_limits  # pyright: ignore
    assert [dict(limit) for limit in limits] == [{"key": GPU, "value": "true", "limit": 2}]


def test_a_cancer_type_that_the_daemon_does_not_know_yet_is_queued_all_the_same(
    in_a_cluster: None, instance: dg.DagsterInstance
) -> None:
    submitted = made_by_the_daemon(instance, {"dagster/partition": "new_one"})
    instance.run_coordinator.submit_run(dg.SubmitRunContext(submitted, workspace=None))  # pyright: ignore
    assert instance.get_run_by_id(submitted.run_id).status is dg.DagsterRunStatus.QUEUED  # pyright: ignore
