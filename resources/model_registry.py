"""MLflow: every trained model is a version with its digest, contract signature, parameters, metrics and plots.

The files logged are exactly those of the model directory (data-only formats); nothing is ever loaded through MLflow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dagster as dg

from clinical_assets.foundation.home import Home
from clinical_assets.foundation.locks import exclusive

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from clinical_assets.trials.contract import CohortContract


@dataclass(frozen=True)
class RegisteredModel:
    name: str
    version: str
    run_id: str


class ModelRegistry(dg.ConfigurableResource):
    """`tracking_uri` empty: `$MLFLOW_TRACKING_URI`, else SQLite and files in the state directory."""

    tracking_uri: str = ""

    def register(
        self,
        cancer: str,
        digest: str,
        model_dir: Path,
        contract: CohortContract,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        plots: Mapping[str, bytes],
        tags: Mapping[str, str],
    ) -> RegisteredModel:
        """Log the model directory as a version; a digest that is registered already is returned as it is."""
        client = self._client()
        name = f"clinical.{cancer}"
        with exclusive(Home.from_env().mlflow / "register.lock"):
            known = self._find(client, name, digest)
            if known is not None:
                return known
            experiment = client.get_experiment_by_name(name)
            experiment_id = (
                experiment.experiment_id if experiment else client.create_experiment(name, self._artifacts(name))
            )
            run = client.create_run(experiment_id, tags=dict(tags), run_name=digest[:12])
            run_id = run.info.run_id
            self._log(client, run_id, digest, model_dir, contract, parameters, metrics, plots)
            if not client.search_registered_models(f"name='{name}'"):
                client.create_registered_model(name)
            source = f"{run.info.artifact_uri}/model"
            version = client.create_model_version(name, source, run_id, tags={"model_digest": digest, **tags})
            client.set_terminated(run_id)
        return RegisteredModel(name, str(version.version), run_id)

    def digest_of(self, registered: RegisteredModel) -> str:
        """The digest recomputed over the registered files, whatever the version's tags say."""
        from clinical_assets.foundation.canonical import sha256_directory

        client = self._client()
        with TemporaryDirectory() as scratch:
            path = client.download_artifacts(registered.run_id, "model/artifact", scratch)
            return sha256_directory(Path(path))

    def _find(self, client: MlflowClient, name: str, digest: str) -> RegisteredModel | None:
        for version in client.search_model_versions(f"name='{name}' and tag.model_digest='{digest}'"):
            return RegisteredModel(name, str(version.version), str(version.run_id))
        return None

    def _log(
        self,
        client: MlflowClient,
        run_id: str,
        digest: str,
        model_dir: Path,
        contract: CohortContract,
        parameters: Mapping[str, Any],
        metrics: Mapping[str, float],
        plots: Mapping[str, bytes],
    ) -> None:
        from mlflow.entities import Metric, Param
        from mlflow.models import Model

        card = Model(artifact_path="model", run_id=run_id, signature=_signature(contract))
        card.add_flavor("clinical_assets", model_digest=digest, directory="artifact")
        with TemporaryDirectory() as scratch:
            card.save(str(Path(scratch) / "MLmodel"))
            client.log_artifact(run_id, str(Path(scratch) / "MLmodel"), "model")
            for title, png in plots.items():
                (Path(scratch) / f"{title}.png").write_bytes(png)
                client.log_artifact(run_id, str(Path(scratch) / f"{title}.png"), "plots")
        client.log_artifacts(run_id, str(model_dir), "model/artifact")
        now = int(time.time() * 1000)
        client.log_batch(
            run_id,
            metrics=[Metric(key, float(value), now, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)[:500]) for key, value in parameters.items()],
        )

    def _artifacts(self, name: str) -> str | None:
        return None if self._remote() else (Home.from_env().mlflow / "artifacts" / name).as_uri()

    def _remote(self) -> str:
        return self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")

    def _client(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow import MlflowClient

        remote = self._remote()
        if remote:
            return MlflowClient(remote)
        home = Home.from_env().prepare()
        with exclusive(home.mlflow / "schema.lock"):  # two first users must not migrate the schema at once
            client = MlflowClient(f"sqlite:///{home.mlflow / 'mlflow.db'}")
            client.search_experiments(max_results=1)
        return client


def _signature(contract: CohortContract) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs: list[Any] = [
        ColSpec(DataType.double if column.numeric else DataType.string, column.name, required=column.max_missing == 0)
        for column in contract.features
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(DataType.double, "risk")]))
