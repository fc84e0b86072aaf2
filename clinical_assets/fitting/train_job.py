"""A Kubeflow `TrainJob` (trainer.kubeflow.org/v1alpha1) of one fit, and what its status says: pure functions.

The job names a TrainingRuntime of its namespace, which holds what an administrator decides: volumes, security context,
no retries of its own. Fields as in pkg/apis/trainer/v1alpha1/trainjob_types.go of github.com/kubeflow/trainer, 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Manifest = dict[str, Any]
State = Literal["queued", "created", "pending", "running", "complete", "failed"]

ENDS: dict[str, State] = {"Failed": "failed", "Complete": "complete", "Suspended": "queued"}
"""By condition, the stronger first."""
APPLICATION = "clinical-fit"
CLAIM, MOUNT = "clinical-fits", "/var/lib/clinical/fits"
"""The volume of the fits, and where pods of runs and of TrainJobs see it."""
PLAN = "clinical-assets/plan"
ATTEMPT = "clinical-assets/attempt"
CONTAINER = "node"
"""The trainer's container, which Kubeflow asks a runtime to call so."""
POD_LABEL = "jobset.sigs.k8s.io/jobset-name"
"""On every pod of a TrainJob, whose JobSet has the TrainJob's name."""


@dataclass(frozen=True)
class Trainer:
    """
    Attributes:
        image: with torch, numpy and the platform; the same as the code location's, or the fit is refused.
        mount: where the runtime mounts the folders of the fits.
        runtime: name of the TrainingRuntime.
        queue: of Kueue, "" for none.
    """

    image: str
    namespace: str = "clinical"
    mount: str = MOUNT
    runtime: str = "clinical-networks"
    queue: str = ""
    cpu: str = "1"
    memory_mib: int = 4096
    gpus: int = 0
    deadline_s: int = 7200

    @property
    def jobs(self) -> str:
        return f"/apis/trainer.kubeflow.org/v1alpha1/namespaces/{self.namespace}/trainjobs"

    @property
    def pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"


def name_of(plan: str) -> str:
    """Equal fits have equal names, so a second run finds the job of the first."""
    return f"fit-{plan[:24]}"


def train_job(trainer: Trainer, plan: str, attempt: int) -> Manifest:
    resources: dict[str, dict[str, str]] = {
        "requests": {"cpu": trainer.cpu, "memory": f"{trainer.memory_mib}Mi"},
        "limits": {"memory": f"{trainer.memory_mib}Mi"},
    }
    if trainer.gpus:
        for kind in resources.values():
            kind["nvidia.com/gpu"] = str(trainer.gpus)
    labels = {"app.kubernetes.io/name": APPLICATION}
    if trainer.queue:
        labels["kueue.x-k8s.io/queue-name"] = trainer.queue
    return {
        "apiVersion": "trainer.kubeflow.org/v1alpha1",
        "kind": "TrainJob",
        "metadata": {
            "name": name_of(plan),
            "namespace": trainer.namespace,
            "labels": labels,
            "annotations": {PLAN: plan, ATTEMPT: str(attempt)},
        },
        "spec": {
            "runtimeRef": {
                "apiGroup": "trainer.kubeflow.org",
                "kind": "TrainingRuntime",
                "name": trainer.runtime,
            },
            "trainer": {
                "image": trainer.image,
                "command": ["python", "-m", "clinical_assets.modeling.network_jobs"],
                "args": [f"{trainer.mount}/{plan}"],
                "env": [{"name": "OMP_NUM_THREADS", "value": "1"}],
                "numNodes": 1,
                "resourcesPerNode": resources,
            },
            "activeDeadlineSeconds": trainer.deadline_s,
        },
    }


def state_of(job: Manifest) -> tuple[State, str]:
    """State of a TrainJob, and the controller's words for it."""
    status = job.get("status", {})
    met = {one["type"]: one for one in status.get("conditions", []) if one.get("status") == "True"}
    for kind, state in ENDS.items():
        if kind in met:
            return state, f"{met[kind].get('reason', '')}: {met[kind].get('message', '')}"
    jobs = status.get("jobsStatus", [])
    if any(one.get("ready") for one in jobs):
        return "running", ""
    return ("pending" if any(one.get("active") for one in jobs) else "created"), ""


def trouble_of(pod: Manifest) -> str:
    """Why a pod does not run or has died, as the cluster says it; "" if nothing is said."""
    status = pod.get("status", {})
    for container in status.get("containerStatuses", []):
        ended = container.get("state", {}).get("terminated")
        if ended and (ended.get("exitCode") or ended.get("reason") == "OOMKilled"):
            return f"{ended.get('reason', 'Error')} (exit code {ended.get('exitCode')})"
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    if status.get("reason"):  # Evicted, NodeLost, Shutdown
        return f"{status['reason']}: {status.get('message', '')}"
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"{condition.get('reason', '')}: {condition.get('message', '')}"
    return ""
