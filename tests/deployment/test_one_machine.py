"""`deploy/compose.yaml` and the secrets made for it."""

from __future__ import annotations

import importlib.util
import json
import re
import stat
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deployment.rendering import ROOT

DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)


def schema(name: str) -> dict[str, Any]:
    return json.loads((files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json").read_text())


@pytest.fixture
def secrets_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = importlib.util.spec_from_file_location("make_secrets", DEPLOY / "make_secrets.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    monkeypatch.setattr(module, "DIRECTORY", tmp_path / "secrets")
    return module


def test_the_file_fits_the_compose_specification() -> None:
    jsonschema.validate(COMPOSE, schema("compose-spec"))


def test_every_file_that_is_mounted_is_there_or_made(secrets_script: ModuleType) -> None:
    secrets_script.main()
    made = {path.name for path in secrets_script.DIRECTORY.iterdir()}
    mounted = set(re.findall(r"- (\./[^:]+):", TEXT)) | set(re.findall(r"secrets/[a-z0-9.]+", TEXT))
    for path in mounted:
        name = path.removeprefix("./")
        assert (name.removeprefix("secrets/") in made) if name.startswith("secrets/") else (DEPLOY / name).exists(), (
            name
        )


def test_secrets_are_made_once_and_are_nobody_elses(secrets_script: ModuleType) -> None:
    secrets_script.main()
    before = (secrets_script.DIRECTORY / "clinical").read_text()
    assert stat.S_IMODE(secrets_script.DIRECTORY.stat().st_mode) == 0o700
    assert before in (secrets_script.DIRECTORY / "platform.env").read_text()
    with pytest.raises(SystemExit, match="stays as it is"):
        secrets_script.main()
    assert (secrets_script.DIRECTORY / "clinical").read_text() == before
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_containers_can_do_little_and_their_images_are_pinned() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["image"].startswith("clinical-assets:") or "@sha256:" in service["image"], name
        if name != "s3-owner":  # runs once, as root with the one capability it needs, without network
            assert service["read_only"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_nothing_listens_beyond_this_machine() -> None:
    assert "0.0.0.0" not in TEXT
    assert all("ports" not in service for service in COMPOSE["services"].values())


def test_no_migration_is_left_out_and_everything_waits_for_its_own() -> None:
    commands = " ".join(str(service.get("command")) for service in COMPOSE["services"].values())
    for migration in ("clinical database upgrade", "dagster instance migrate", "mlflow db upgrade"):
        assert migration in commands
    for name in ("dataplane", "code-location", "exporter"):
        assert COMPOSE["services"][name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
