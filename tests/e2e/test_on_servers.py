"""Objects on a real S3 server with object lock, models in a real MLflow server whose artifacts lie there too.

One cohort goes the whole way, while parts of it are away: data to features to model to gates to locked evidence to a
model server on another machine.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from clinical_assets.catalog import configs_directory
from clinical_assets.gates.verdict import Scope
from clinical_assets.references import ModelReference
from tests.s3 import S3Server
from tests.serving.conftest import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.xdist_group("s3")]
CANCER = "colon"
ASSETS = ("raw_trial_data", "features", "trained_model", "gate_verdict")


@dataclass
class MlflowServer:
    """`mlflow server` on SQLite; it hands artifacts on to the bucket, so that clients need no credentials."""

    folder: Path
    url: str
    artifacts: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        port = self.url.rpartition(":")[2]
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{self.folder / 'mlflow.db'}"),
            *("--artifacts-destination", self.artifacts),
        ]
        own = {**os.environ, "MLFLOW_S3_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"]}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=own, start_new_session=True)
        deadline = time.monotonic() + 180
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.3)

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()


@dataclass
class Platform:
    s3: S3Server
    mlflow: MlflowServer
    home: Path
    folder: Path
    instance: dg.DagsterInstance
    runs: list[dg.ExecuteInProcessResult] = field(default_factory=list)

    def run(self) -> dg.ExecuteInProcessResult:
        from clinical_assets.definitions import defs

        job = defs.resolve_implicit_global_asset_job_def()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            subset = job.get_subset(asset_selection={dg.AssetKey(name) for name in ASSETS})
            return subset.execute_in_process(partition_key=CANCER, instance=self.instance, raise_on_error=False)

    def resources(self) -> dict[str, Any]:
        from clinical_assets.definitions import default_resources

        return default_resources()

    def model(self) -> ModelReference:
        found = self.resources()["io_manager"].find("trained_model", CANCER, ModelReference)
        assert found is not None
        return found

    def stored(self) -> list[str]:
        bucket = self.s3.locked_bucket
        return [found["Key"] for found in self.s3.client().list_objects_v2(Bucket=bucket)["Contents"]]


def _metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    found = result.asset_materializations_for_node(asset)[-1].metadata
    return {name: value.value for name, value in found.items()}


def _errors(result: dg.ExecuteInProcessResult) -> str:
    events = (event.step_failure_data.error for event in result.all_events if event.is_step_failure)
    return "\n".join(error.to_string() for error in events if error is not None)


@pytest.fixture(scope="module")
def platform(s3_session: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder, configs = tmp_path_factory.mktemp("platform"), tmp_path_factory.mktemp("configs")
    (configs / "cancers").mkdir()
    shutil.copy(configs_directory() / "cancers" / f"{CANCER}.yaml", configs / "cancers")
    (configs / "platform.yaml").write_text("models: {families: [cox]}\n")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_session.environment.items():
            patch.setenv(name, value)
        url = s3_session.new_url(locked=True)
        mlflow = MlflowServer(folder, f"http://127.0.0.1:{free_ports().blue}", f"s3://{s3_session.bucket}/mlflow")
        patch.setenv("CLINICAL_CONFIGS", str(configs))
        patch.setenv("CLINICAL_HOME", str(folder / "state"))
        patch.setenv("CLINICAL_DATABASE_URL", f"sqlite:///{folder / 'ledger.db'}")
        patch.setenv("CLINICAL_OBJECTS_URL", url)
        patch.setenv("MLFLOW_TRACKING_URI", mlflow.url)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        try:
            yield Platform(s3_session, mlflow, folder / "state", folder, dg.DagsterInstance.ephemeral())
        finally:
            mlflow.kill()


def test_a_registry_that_is_down_costs_no_second_training(platform: Platform) -> None:
    without = platform.run()
    assert "RegistryUnavailable" in _errors(without)
    assert "is not trained again; start the server" in _errors(without)
    fitted = [key for key in platform.stored() if "/models/" in key and key.endswith(".zip")]
    assert len(fitted) == 1

    platform.mlflow.start()
    platform.runs.append(platform.run())
    assert "RegistryUnavailable" not in _errors(platform.runs[0])
    said = [entry.user_message for entry in platform.instance.all_logs(platform.runs[0].run_id)]
    assert not any("searching" in message for message in said)
    assert platform.model().digest in fitted[0]


def test_evaluated_signed_logged_and_stored_are_one_digest(platform: Platform) -> None:
    from clinical_assets.foundation.canonical import sha256_directory
    from resources.model_registry import RegisteredModel

    model, resources = platform.model(), platform.resources()
    assert sha256_directory(resources["object_store"].model(model.digest)) == model.digest
    assert resources["object_store"].signature(model.digest).is_file()
    registered = RegisteredModel("", model.mlflow_version, model.mlflow_run)
    assert resources["model_registry"].digest_of(registered) == model.digest
    record = resources["ledger_store"].records().find(model.digest).record
    security = {check.id: check for report in record.reports.values() for check in report.checks}
    assert record.model_digest == model.digest
    assert security["SE5"].verdict.value == "PASS"
    artifacts = platform.s3.client().list_objects_v2(Bucket=platform.s3.bucket, Prefix="mlflow/")["Contents"]
    assert any(found["Key"].endswith("model/artifact/weights.safetensors") for found in artifacts)


def test_the_evidence_in_the_bucket_holds_and_cannot_be_deleted(platform: Platform, tmp_path: Path) -> None:
    from botocore.exceptions import ClientError

    from clinical_assets.evidence.verification import verify

    shown = _metadata(platform.runs[0], "gate_verdict")
    assert str(shown["evidence_lock"]).startswith("COMPLIANCE until ")
    client, bucket = platform.s3.client(), platform.s3.locked_bucket
    [key] = [key for key in platform.stored() if f"/evidence/{CANCER}/" in key and shown["evidence_digest"] in key]
    found = client.get_object(Bucket=bucket, Key=key)
    data = found["Body"].read()
    assert zipfile.is_zipfile(io.BytesIO(data))
    (tmp_path / "evidence.zip").write_bytes(data)
    public = next((platform.home / "keys").glob("platform.*.pub"))
    assert verify(tmp_path / "evidence.zip", (str(public), public.read_bytes()), time.time()).ok
    with pytest.raises(ClientError, match="AccessDenied"):
        client.delete_object(Bucket=bucket, Key=key, VersionId=found["VersionId"])
    assert Path(str(shown["evidence"])).read_bytes() == data


def test_an_unchanged_run_uploads_no_object(platform: Platform) -> None:
    before = {key for key in platform.stored() if key.endswith(".zip")}
    again = platform.run()
    for asset in ("raw_trial_data", "features", "trained_model"):
        assert _metadata(again, asset)["reused"] is True
    new = {key for key in platform.stored() if key.endswith(".zip")} - before
    assert {key.split("/")[1] for key in new} <= {"evidence"}  # of another look at the gates, where they refuse


def test_a_server_on_another_machine_serves_it_and_outlives_the_store(platform: Platform, tmp_path: Path) -> None:
    model, resources = platform.model(), platform.resources()
    _grant(resources["ledger_store"], model.digest)
    shutil.copytree(platform.home / "keys", tmp_path / "keys", ignore=shutil.ignore_patterns("*.key"))
    ports = free_ports()
    command = [
        *(sys.executable, "-m", "clinical_assets.serving.model_server", "--cancer", CANCER, "--digest", model.digest),
        *("--home", str(tmp_path), "--port", str(ports.blue)),
    ]
    ready = f"http://127.0.0.1:{ports.blue}/v2/models/{CANCER}/versions/{model.digest}/ready"

    def serve() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(ready, trust_env=False).status_code == 200:
                    return process
            except httpx.TransportError:
                pass
            assert process.poll() is None, (tmp_path / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.2)

    process = serve()
    assert list((tmp_path / "cache").rglob("weights.safetensors"))
    platform.s3.kill()
    try:
        assert httpx.get(ready, trust_env=False).status_code == 200
        process.terminate()
        process.wait(30)
        process = serve()  # from its own verified copy
    finally:
        process.terminate()
        process.wait(30)
        platform.s3.start()


def test_aliases_follow_the_ledger_and_wait_for_a_registry_that_is_down(platform: Platform) -> None:
    from mlflow import MlflowClient

    from sensors.registry_aliases import registry_aliases

    model, resources = platform.model(), platform.resources()
    registry, ledger = resources["model_registry"], resources["ledger_store"].ledger()
    ledger.open_rollout(CANCER, "", model.digest, {"risk_class": "high"}, "platform", time.time())
    given = {name: resources[name] for name in ("ledger_store", "model_registry")}

    def tick(cursor: str | None) -> tuple[str, str | None]:
        with dg.build_sensor_context(instance=platform.instance, resources=given, cursor=cursor) as context:
            found = registry_aliases.evaluate_tick(context)
            return str(found.skip_message), found.cursor

    platform.mlflow.kill()
    began = time.monotonic()
    said, cursor = tick(None)
    assert time.monotonic() - began < 30
    assert f"waiting for the registry: {CANCER}" in said
    assert json.loads(cursor or "")["waiting"] == [CANCER]
    platform.mlflow.start()
    said, cursor = tick(cursor)
    assert f"champion: none, challenger: version {model.mlflow_version}" in said
    name, client = f"clinical.{CANCER}", MlflowClient(platform.mlflow.url)
    assert {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()} == {
        "challenger": model.mlflow_version
    }
    assert tick(cursor)[0] == "no rollout changed"
    registry.keep_aliases(CANCER, {"champion": model.digest, "challenger": ""})
    assert set(client.get_registered_model(name).aliases) == {"champion"}
    assert registry.keep_aliases(CANCER, {"champion": "f" * 64, "challenger": ""}) == (
        f"{name} champion: ffffffffffff, which is not registered, challenger: none"
    )
    assert client.get_registered_model(name).aliases == {}


def _grant(ledger_store: Any, digest: str) -> None:
    """A record that lets the model be loaded: the gates refuse here, for nobody signed and no advisories were given."""
    from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Tier, Verdict

    check = CheckResult(id="X1", title="x", verdict=Verdict.PASS, metric="x")
    reports = [
        GateReport(gate=gate, verdict=Verdict.PASS, checks=(check,), required=("X1",), started="", finished="",
                   cancer=CANCER, model_digest=digest, policy_digest="p" * 64)
        for gate in GateName
    ]  # fmt: skip
    records = ledger_store.records()
    records.issue(
        cancer=CANCER, model_digest=digest, data_digests={}, policy_digest="p" * 64, lineage={},
        reports=reports, tier=Tier.RESEARCH, actor="test", now=time.time(),
    )  # fmt: skip
    records.require(digest, CANCER, Scope.SHADOW, time.time())
