"""MLflow: every trained model is a version with its digest, contract signature, parameters, metrics and plots.

The files logged are exactly those of the model directory (data-only formats); nothing is ever loaded through MLflow.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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

HEALTH_S = 2.0
"""Seconds in which a registry server must say that it is there, where nothing depends on it."""


class RegistryUnavailable(RuntimeError):
    """The registry could not do what was asked; models, verdicts and routes do not depend on it."""


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
        """Log the model directory as a version; a digest that is registered already is returned as it is.

        Raises:
            RegistryUnavailable: the server does not answer, or refuses.
        """
        name = _name(cancer)
        with self._asked(f"{cancer}: register model {digest[:12]}") as client, exclusive(_lock()):
            known = self._find(client, name, digest)
            if known is not None:
                return known
            experiment = client.get_experiment_by_name(name)
            experiment_id = (
                experiment.experiment_id if experiment else client.create_experiment(name, self._artifacts(name))
            )
            begun = f"tags.model_digest = '{digest}' and attributes.status = 'RUNNING'"
            for interrupted in client.search_runs([experiment_id], begun):
                client.set_terminated(interrupted.info.run_id, "KILLED")
            run = client.create_run(experiment_id, tags={"model_digest": digest, **tags}, run_name=digest[:12])
            run_id = run.info.run_id
            self._log(client, run_id, digest, model_dir, contract, parameters, metrics, plots)
            if not client.search_registered_models(f"name='{name}'"):
                client.create_registered_model(name)
            source = f"{run.info.artifact_uri}/model"
            version = client.create_model_version(name, source, run_id, tags={"model_digest": digest, **tags})
            client.set_terminated(run_id)
        return RegisteredModel(name, str(version.version), run_id)

    def digest_of(self, registered: RegisteredModel) -> str:
        """The digest recomputed over the registered files, whatever the version's tags say.

        Raises:
            RegistryUnavailable: the server does not answer, or refuses.
        """
        from clinical_assets.foundation.canonical import sha256_directory

        with self._asked(f"read the files of run {registered.run_id}") as client, TemporaryDirectory() as scratch:
            path = client.download_artifacts(registered.run_id, "model/artifact", scratch)
            return sha256_directory(Path(path))

    def keep_aliases(self, cancer: str, digests: Mapping[str, str]) -> str:
        """Let each alias name the version of its digest, and take away one whose digest is "".

        For people who look at the registry: the ledger decides, and nothing reads an alias. A server that is down is
        found out within seconds.

        Args:
            digests: as `rollout.champion.aliases_of` gives them.

        Returns:
            What the aliases name now, in words.

        Raises:
            RegistryUnavailable: the server does not answer, or refuses.
        """
        name, said = _name(cancer), []
        self._look(what := f"{cancer}: keep the aliases")
        with self._asked(what) as client:
            if not client.search_registered_models(f"name='{name}'"):
                return f"{name} is not in the registry"
            held = client.get_registered_model(name).aliases
            for alias, digest in digests.items():
                known = self._find(client, name, digest) if digest else None
                if known is None and alias in held:
                    client.delete_registered_model_alias(name, alias)
                elif known is not None and str(held.get(alias)) != known.version:
                    client.set_registered_model_alias(name, alias, known.version)
                missing = f"{digest[:12]}, which is not registered" if digest else "none"
                said.append(f"{alias}: {f'version {known.version}' if known else missing}")
        return f"{name} {', '.join(said)}"

    def _look(self, what: str) -> None:
        """Ask a server for its health before MLflow does, which would try for minutes."""
        if not self._remote().startswith("http"):
            return
        import httpx

        try:
            httpx.get(f"{self._remote().rstrip('/')}/health", timeout=HEALTH_S).raise_for_status()
        except httpx.HTTPError as error:
            raise self._unavailable(what, f"{type(error).__name__}: {error}") from error

    @contextmanager
    def _asked(self, what: str) -> Iterator[MlflowClient]:
        """A client, whose failures say what was asked and what to do."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield self._client()
        except (MlflowException, SQLAlchemyError, OSError) as error:
            raise self._unavailable(what, str(error).splitlines()[0][:300]) from error

    def _unavailable(self, what: str, said: str) -> RegistryUnavailable:
        where = self._remote() or Home.from_env().mlflow
        return RegistryUnavailable(
            f"{what}: the model registry {where} could not ({said}). The model itself is stored and is not trained "
            "again; start the server, correct MLFLOW_TRACKING_URI or free some space, and run the same again"
        )

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
        """Where files go; a tracking server has a place of its own, a database (whatever URI it has) has none."""
        served = self._remote().startswith(("http://", "https://"))
        return None if served else (Home.from_env().mlflow / "artifacts" / name).as_uri()

    def _remote(self) -> str:
        return self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", "")

    def _client(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")  # a minute of patience, by its own backoff
        from mlflow import MlflowClient

        remote = self._remote()
        if remote:
            return MlflowClient(remote)
        home = Home.from_env().prepare()
        with exclusive(home.mlflow / "schema.lock"):  # two first users must not migrate the schema at once
            client = MlflowClient(f"sqlite:///{home.mlflow / 'mlflow.db'}")
            client.search_experiments(max_results=1)
        return client


def _lock() -> Path:
    return Home.from_env().mlflow / "register.lock"


def _name(cancer: str) -> str:
    return f"clinical.{cancer}"


def _signature(contract: CohortContract) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs: list[Any] = [
        ColSpec(DataType.double if column.numeric else DataType.string, column.name, required=column.max_missing == 0)
        for column in contract.features
    ]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(DataType.double, "risk")]))
