"""The secrets of a self-contained cluster, filled on the double of the API with the rights that the overlay gives."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from clinical_assets.audit.keys import KeyStore
from clinical_assets.foundation.home import Home
from clinical_assets.serving.kubernetes.api import KubernetesApi
from tests.deployment.rendering import KUBERNETES, named, of_kind, overlay
from tests.kubernetes_double.api import ApiDouble
from tests.kubernetes_double.server import ApiServer

SECRETS = "/api/v1/namespaces/clinical/secrets"


def fill_secrets() -> ModuleType:
    path = KUBERNETES / "overlays" / "local-cluster" / "first-start" / "fill_secrets.py"
    found = importlib.util.spec_from_file_location("fill_secrets", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture
def held() -> Iterator[tuple[ApiDouble, KubernetesApi]]:
    """The overlay's secrets, and a connection with the rights of the Job."""
    documents = overlay("local-cluster")
    double = ApiDouble(rules={"first-start": named(documents, "Role", "clinical-first-start")["rules"]})
    server = ApiServer(double)
    for secret in of_kind(documents, "Secret"):
        KubernetesApi(server.client()).create(f"{SECRETS}/{secret['metadata']['name']}", secret)
    yield double, KubernetesApi(server.client("first-start"))
    server.stop()


def content(double: ApiDouble, name: str) -> dict[str, str]:
    data = double.objects[f"{SECRETS}/{name}"]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_every_empty_secret_is_filled_once_and_they_agree(
    held: tuple[ApiDouble, KubernetesApi], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, api = held
    script = fill_secrets()
    filled = script.fill(api)
    assert {*filled, script.SEED} == {path.rpartition("/")[2] for path in double.objects if path.startswith(SECRETS)}
    assert script.fill(api) == []
    passwords = content(double, "clinical-postgres")
    assert passwords["mlflow"] in content(double, "clinical-mlflow-database")["MLFLOW_BACKEND_STORE_URI"]
    assert content(double, "clinical-dagster-database")["DAGSTER_PG_PASSWORD"] == passwords["dagster"]
    identities = {one["name"]: one for one in json.loads(content(double, "clinical-s3")["s3.json"])["identities"]}
    assert not {"Admin", "Write"} & {action.split(":")[0] for action in identities["reader"]["actions"]}
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name, text in content(double, "clinical-keys").items():
        (mounted / name).write_text(text)
    monkeypatch.setenv("CLINICAL_KEYS_FROM", str(mounted))
    home = Home(tmp_path / "home").prepare()
    signer = KeyStore(home.keys).signer("platform", create=False)
    (public,) = content(double, "clinical-public-keys")
    assert public == f"platform.{signer.key_id}.pub"


def test_a_secret_that_somebody_filled_stays(held: tuple[ApiDouble, KubernetesApi]) -> None:
    double, api = held
    double.objects[f"{SECRETS}/clinical-object-store"]["data"] = {"AWS_ACCESS_KEY_ID": "b3du"}
    assert "clinical-object-store" not in fill_secrets().fill(api)
    assert content(double, "clinical-object-store") == {"AWS_ACCESS_KEY_ID": "own"}
