"""Where networks are fitted: small batches in the run, large ones in a process beside it or in a TrainJob."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from clinical_assets.catalog import CancerType
from clinical_assets.fitting.train_job import MOUNT
from clinical_assets.foundation.home import Home
from resources.cluster import KubernetesCluster
from resources.data_plane import DeploymentError

if TYPE_CHECKING:
    from clinical_assets.fitting.fits import FitEvent, NetworkFits, Runner


IMAGE = "docker/image"
"""Tag by which Dagster's launcher says which image a run has."""


class NetworkFitting(dg.ConfigurableResource):
    """`directory` empty: `$CLINICAL_FITS`, else `fits/` in the state directory."""

    directory: str = ""

    def fits(self, context: dg.AssetExecutionContext, cancer: CancerType) -> "NetworkFits":
        """For one run; what happens to its fits becomes observations of the asset.

        Raises:
            DeploymentError: the cancer type asks for a TrainJob, and this deployment has no cluster.
        """
        from clinical_assets.fitting.fits import NetworkFits

        def report(event: "FitEvent") -> None:
            context.log.info(f"{cancer.slug}: fit {event.fit[:12]} {event.state} {event.detail}".rstrip())
            shown = {"fit": event.fit, "state": event.state, "detail": event.detail, **event.more}
            context.log_event(
                dg.AssetObservation(context.asset_key, partition=context.partition_key, metadata={**shown})
            )

        compute = cancer.compute
        return NetworkFits(self.path, self._runner(cancer, context), compute.runner_from, report)

    @property
    def path(self) -> Path:
        named = self.directory or os.environ.get("CLINICAL_FITS", "")
        return Path(named) if named else Home.from_env().root / "fits"

    def _runner(self, cancer: CancerType, context: dg.AssetExecutionContext) -> "Runner":
        from clinical_assets.fitting.process import ProcessRunner

        compute = cancer.compute
        if compute.runner == "trainjob":
            raise DeploymentError(
                f"{cancer.slug}: compute.runner is trainjob, which needs CLINICAL_DEPLOYMENT=kubernetes; "
                "on one machine set it to process"
            )
        return ProcessRunner(60 * compute.timeout_minutes, compute.retries)


class ClusterNetworkFitting(NetworkFitting):
    """Fits as TrainJobs of Kubeflow Trainer where a cancer type asks for it.

    Attributes:
        image: of the TrainJob's pod; "" for that of the run, which is right unless the run is no pod.
        mount: where the TrainingRuntime `runtime` mounts the directory of the fits.
        queue: local queue of Kueue; "" for none.
    """

    cluster: dg.ResourceDependency[KubernetesCluster]
    image: str = ""
    mount: str = MOUNT
    runtime: str = "clinical-networks"
    queue: str = ""

    def _runner(self, cancer: CancerType, context: dg.AssetExecutionContext) -> "Runner":
        from clinical_assets.fitting.train_job import Trainer
        from clinical_assets.fitting.train_jobs import Patience, TrainJobRunner

        compute = cancer.compute
        if compute.runner == "process":
            return super()._runner(cancer, context)
        image = self.image or context.run.tags.get(IMAGE, "")
        if not image:
            raise DeploymentError(f"{cancer.slug}: the run has no tag {IMAGE}; set CLINICAL_TRAINER_IMAGE")
        seconds = round(60 * compute.timeout_minutes)
        trainer = Trainer(
            image=image,
            namespace=self.cluster.namespace,
            mount=self.mount,
            runtime=self.runtime,
            queue=self.queue,
            memory_mib=compute.memory,
            gpus=int(cancer.models.device == "cuda"),
            deadline_s=seconds,
        )
        return TrainJobRunner(self.cluster.api(), trainer, compute.retries, Patience(finish=seconds))


def network_fitting() -> NetworkFitting:
    """That of this deployment."""
    if os.environ.get("CLINICAL_DEPLOYMENT") != "kubernetes":
        return NetworkFitting()
    return ClusterNetworkFitting(
        cluster=KubernetesCluster(),
        image=os.environ.get("CLINICAL_TRAINER_IMAGE", ""),
        queue=os.environ.get("CLINICAL_TRAINER_QUEUE", ""),
    )
