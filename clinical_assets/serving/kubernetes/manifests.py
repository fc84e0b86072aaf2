"""The Deployment, Service, autoscaler and disruption budget of one model: pure functions, restricted pod security."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.serving.kubernetes.names import (
    ANSWERS_PORT,
    CANCER_LABEL,
    COPIES_PORT,
    MODEL_LABEL,
    Names,
    workload,
)

Manifest = dict[str, Any]
APPLICATION = "clinical-model"
ACCOUNT = "clinical-model"
"""Service account of the pods: an identity for the mesh, without rights and without a token."""
DIGEST = "clinical-assets/digest"
WRITTEN = "clinical-assets/written"
"""Annotation with the sha256 of the specification: another image or size is rolled out, and only then."""
DRAIN_S = 15
"""Seconds between the end of routing and SIGTERM: longer than a request may take (10 s)."""
HOME = "/var/lib/clinical"
SCRAPED = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(ANSWERS_PORT),
    "prometheus.io/path": "/metrics",
}
"""Istio merges the application's metrics into those of the proxy, which Prometheus reads."""
TOPOLOGIES = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


@dataclass(frozen=True)
class PodOptions:
    """
    Attributes:
        image: with tag or digest; its entry point is Python with the platform installed.
        objects_claim: PersistentVolumeClaim with the object store, mounted read-only; not used with `objects_url`.
        objects_url: bucket with the object store, as in CLINICAL_OBJECTS_URL.
        objects_secret: AWS_… variables that read the bucket; it may be absent where the pod's identity does.
        database_secret: holds CLINICAL_DATABASE_URL.
        keys_secret: public keys of the signers, for verifying verdicts.
        max_replicas: above `replicas`, an autoscaler adds pods by CPU use.
        cpu, memory: requested; memory is the limit too. cpu_limit: what a pod may take for a while.
    """

    image: str
    replicas: int = 2
    max_replicas: int = 0
    objects_claim: str = "clinical-objects"
    objects_url: str = ""
    objects_secret: str = "clinical-objects-read"
    database_secret: str = "clinical-database"
    keys_secret: str = "clinical-public-keys"
    cpu: str = "500m"
    cpu_limit: str = "2"
    memory: str = "768Mi"


def labels(cancer: str, digest: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": APPLICATION, CANCER_LABEL: cancer, MODEL_LABEL: digest[:12]}


def deployment(names: Names, cancer: str, digest: str, options: PodOptions) -> Manifest:
    chosen = labels(cancer, digest)
    spec: Manifest = {
        "selector": {"matchLabels": chosen},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {"metadata": {"labels": chosen, "annotations": SCRAPED}, "spec": _pod(cancer, digest, options)},
    }
    if options.max_replicas <= options.replicas:
        spec["replicas"] = options.replicas  # with an autoscaler the number is the autoscaler's
    metadata = _metadata(names, cancer, digest)
    metadata["annotations"][WRITTEN] = sha256_json(spec)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def service(names: Names, cancer: str, digest: str) -> Manifest:
    """For probes and metrics of one model; patients' requests go through the shared Service and its subsets."""
    ports = [
        {"name": name, "port": port, "targetPort": name, "appProtocol": "http"}
        for name, port in (("answers", ANSWERS_PORT), ("copies", COPIES_PORT))
    ]
    spec = {"selector": labels(cancer, digest), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(names, cancer, digest), "spec": spec}


def autoscaler(names: Names, cancer: str, digest: str, options: PodOptions) -> Manifest | None:
    if options.max_replicas <= options.replicas:
        return None
    use = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload(cancer, digest)},
        "minReplicas": options.replicas,
        "maxReplicas": options.max_replicas,
        "metrics": [{"type": "Resource", "resource": use}],
    }
    metadata = _metadata(names, cancer, digest)
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def disruption_budget(names: Names, cancer: str, digest: str) -> Manifest:
    """One pod at a time may be moved to another node."""
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": labels(cancer, digest)}}
    metadata = _metadata(names, cancer, digest)
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def _metadata(names: Names, cancer: str, digest: str) -> Manifest:
    return {
        "name": workload(cancer, digest),
        "namespace": names.namespace,
        "labels": labels(cancer, digest),
        "annotations": {DIGEST: digest},
    }


def _pod(cancer: str, digest: str, options: PodOptions) -> Manifest:
    mounts: list[Manifest] = [
        {"name": "objects", "mountPath": f"{HOME}/{'cache' if options.objects_url else 'objects'}"},
        {"name": "keys", "mountPath": f"{HOME}/keys", "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    environment = {"OMP_NUM_THREADS": "1", "TMPDIR": "/tmp"}
    secrets: list[Manifest] = [{"name": options.database_secret}]
    objects: Manifest = {"persistentVolumeClaim": {"claimName": options.objects_claim, "readOnly": True}}
    if options.objects_url:
        environment["CLINICAL_OBJECTS_URL"] = options.objects_url
        secrets.append({"name": options.objects_secret, "optional": True})
        objects = {"emptyDir": {"sizeLimit": "1Gi"}}
    else:
        mounts[0]["readOnly"] = True
    container: Manifest = {
        "name": "model",
        "image": options.image,
        "command": ["python", "-m", "clinical_assets.serving.model_server"],
        "args": [
            *("--cancer", cancer, "--digest", digest, "--home", HOME, "--host", "0.0.0.0"),
            *("--port", str(ANSWERS_PORT), "--copies-port", str(COPIES_PORT)),
        ],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "envFrom": [{"secretRef": secret} for secret in secrets],
        "ports": [
            {"name": "answers", "containerPort": ANSWERS_PORT},
            {"name": "copies", "containerPort": COPIES_PORT},
        ],
        "startupProbe": _probe("/v2/health/live", failures=60),
        "livenessProbe": _probe("/v2/health/live", failures=5),
        "readinessProbe": _probe(f"/v2/models/{cancer}/versions/{digest}/ready", failures=2),
        "lifecycle": {"preStop": {"sleep": {"seconds": DRAIN_S}}},
        "resources": {
            "requests": {"cpu": options.cpu, "memory": options.memory},
            "limits": {"cpu": options.cpu_limit, "memory": options.memory},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    }
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "topologySpreadConstraints": [_spread(topology, cancer, digest) for topology in TOPOLOGIES],
        "terminationGracePeriodSeconds": DRAIN_S + 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "objects", **objects},
            {"name": "keys", "secret": {"secretName": options.keys_secret, "defaultMode": 0o440}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
        ],
    }


def _spread(topology: str, cancer: str, digest: str) -> Manifest:
    """As even as the cluster allows; a model on one node is better than a model on none."""
    return {
        "maxSkew": 1,
        "topologyKey": topology,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels(cancer, digest)},
    }


def _probe(path: str, failures: int) -> Manifest:
    return {"httpGet": {"path": path, "port": "answers"}, "periodSeconds": 2, "failureThreshold": failures}
