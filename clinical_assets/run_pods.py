"""The pod of a run on Kubernetes: one run and one pod for each partition, sized for its cancer type.

The tags are those that Dagster's K8sRunLauncher reads. They come with the partition key where the code location makes
a run: jobs, schedules, sensors. A backfill of assets is made by the daemon, which asks `run_coordinator`.
"""

from __future__ import annotations

import json
import os
from typing import Any

from clinical_assets.catalog import CancerType, UnknownCancerType, load_catalog
from clinical_assets.fitting.train_job import CLAIM, MOUNT

K8S_CONFIG = "dagster-k8s/config"
GPU = "clinical/gpu"
"""Tag of runs whose pod holds a GPU; `tag_concurrency_limits` on it bounds how many run at once."""
CANCER_LABEL = "clinical-assets/cancer"


def tags_of(partition: str) -> dict[str, str]:
    """Tags of a run of one partition; none outside a cluster, or for a cancer type that is not in this catalogue."""
    if os.environ.get("CLINICAL_DEPLOYMENT") != "kubernetes":
        return {}
    try:
        return pod_tags(load_catalog()[partition])
    except UnknownCancerType:
        return {}


def pod_tags(cancer: CancerType) -> dict[str, str]:
    """Pod, deadline and retry rules: a pod that died is replaced, a gate that failed is an answer and stays one."""
    tags = {
        K8S_CONFIG: json.dumps(pod_config(cancer), sort_keys=True),
        "dagster/max_runtime": str(round(60 * cancer.compute.timeout_minutes)),
        "dagster/max_retries": str(cancer.compute.retries),
        "dagster/retry_on_asset_or_op_failure": "false",
    }
    return {**tags, GPU: "true"} if needs_gpu(cancer) else tags


def needs_gpu(cancer: CancerType) -> bool:
    """Whether the run itself fits networks on a GPU; a TrainJob brings its own."""
    models = cancer.models
    return models.device == "cuda" and "torch" in models.families and cancer.compute.runner == "process"


def pod_config(cancer: CancerType) -> dict[str, Any]:
    """What differs between cancer types; image, identity, volumes and security context are the launcher's."""
    memory = f"{cancer.compute.memory}Mi"
    requests: dict[str, str] = {"cpu": f"{cancer.compute.cpu:g}", "memory": memory}
    limits = {"memory": memory}
    config: dict[str, Any] = {
        "container_config": {"resources": {"requests": requests, "limits": limits}},
        "pod_template_spec_metadata": {"labels": {CANCER_LABEL: cancer.slug}},
    }
    if cancer.compute.runner == "trainjob":
        claim = {"name": "fits", "persistent_volume_claim": {"claim_name": CLAIM}}
        config["pod_spec_config"] = {"volumes": [claim]}
        config["container_config"]["volume_mounts"] = [{"name": "fits", "mount_path": MOUNT}]
        config["container_config"]["env"] = [{"name": "CLINICAL_FITS", "value": MOUNT}]
    if needs_gpu(cancer):
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = "1"
        taint = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
        config["pod_spec_config"] = {"tolerations": [taint]}
    return config
