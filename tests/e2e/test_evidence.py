"""Evidence where people look for it: in the run's metadata, on the command line, and from checks run again by hand."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from clinical_assets.catalog import configs_directory
from clinical_assets.cli import app

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
CANCER = "larynx"
ASSETS = ("raw_trial_data", "features", "trained_model", "gate_verdict")
Result = dg.ExecuteInProcessResult


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """State of its own, and a catalogue of one cancer type whose model is fitted quickly."""
    path = tmp_path_factory.mktemp("state")
    configs = tmp_path_factory.mktemp("configs")
    (configs / "cancers").mkdir()
    shutil.copy(configs_directory() / "cancers" / f"{CANCER}.yaml", configs / "cancers")
    (configs / "platform.yaml").write_text("models: {families: [cox]}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLINICAL_CONFIGS", str(configs))
        patch.setenv("CLINICAL_HOME", str(path))
        patch.delenv("CLINICAL_DATABASE_URL", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield path


def job() -> dg.JobDefinition:
    from clinical_assets.definitions import defs

    return defs.resolve_implicit_global_asset_job_def()


@pytest.fixture(scope="module")
def judged(home: Path) -> tuple[Result, dg.DagsterInstance]:
    """A run up to the verdict; it may end with a blocked check, the verdict is there all the same."""
    instance = dg.DagsterInstance.ephemeral()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subset = job().get_subset(asset_selection={dg.AssetKey(name) for name in ASSETS})
        return subset.execute_in_process(partition_key=CANCER, instance=instance, raise_on_error=False), instance


def test_the_verdict_shows_report_bundle_and_summary(judged: tuple[Result, dg.DagsterInstance]) -> None:
    events = judged[0].asset_materializations_for_node("gate_verdict")
    metadata = events[0].metadata
    report, archive = Path(str(metadata["report"].value)), Path(str(metadata["evidence"].value))
    assert report.read_text().startswith("<!doctype html>")
    assert zipfile.is_zipfile(archive)
    summary = str(metadata["summary"].value)
    assert summary.startswith(f"**Grants {metadata['scope'].value}**")
    said = [line.split("**")[1] for line in summary.splitlines()[2:]]
    order = ["ERROR", "BLOCK", "INCONCLUSIVE", "WARN"]
    assert said == sorted(said, key=order.index)
    assert "What to do:" in summary


def test_checks_run_again_for_one_partition(judged: tuple[Result, dg.DagsterInstance]) -> None:
    """As the UI does it: the check alone, without the assets that it is about."""
    wanted = dg.AssetCheckKey(dg.AssetKey("raw_trial_data"), "data_quality")
    again = job().get_subset(asset_check_selection={wanted})
    result = again.execute_in_process(partition_key=CANCER, instance=judged[1], raise_on_error=False)
    evaluations = result.get_asset_check_evaluations()
    assert [evaluation.asset_check_key for evaluation in evaluations] == [wanted]
    assert evaluations[0].metadata["verdict"].value in ("PASS", "WARN", "INCONCLUSIVE")
    assert not result.get_asset_materialization_events()


def clinical(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return (2, str(done.exception)) if isinstance(done.exception, ValueError) else (done.exit_code, done.output)


def test_the_command_line_exports_and_verifies(
    judged: tuple[Result, dg.DagsterInstance], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = clinical("evidence", CANCER, "--out", tmp_path)
    assert code == 0, said
    archive, key = next(tmp_path.glob("*.zip")), next((home / "keys").glob("platform.*.pub"))
    trusted = tmp_path / "trusted.pub"
    trusted.write_bytes(key.read_bytes())
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path / "nowhere"))

    code, said = clinical("verify", archive, "--key", trusted)
    assert (code, "the bundle holds" in said, "UNTRUSTED" in said) == (0, True, False), said
    code, said = clinical("verify", archive)
    assert (code, "UNTRUSTED" in said) == (0, True)
    code, said = clinical("verify", archive, "--key", trusted, "--at", "2099-01-01T00:00:00+00:00")
    assert (code, "EXPIRED" in said) == (1, True)
    assert not (tmp_path / "nowhere").exists()

    folder = archive.with_suffix("")
    card = json.loads((folder / "card.json").read_text())
    card["use"]["not_for"] = "nobody"
    (folder / "card.json").write_text(json.dumps(card))
    code, said = clinical("verify", folder, "--key", trusted)
    assert (code, "card.json was changed" in said) == (1, True)
    assert clinical("verify", tmp_path / "absent")[0] == 2
    assert clinical("verify", tmp_path)[0] == 2
