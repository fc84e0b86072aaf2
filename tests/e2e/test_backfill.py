"""`clinical backfill` with real processes: parallel, resumable after kill -9, and the same models as single runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg
import psutil
import pytest

from tests.e2e.conftest import BIN, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
CANCERS = ("breast_fna", "prostate", "melanoma")


def outcomes(environment: Mapping[str, str], *arguments: str) -> tuple[int, dict[str, dict[str, object]]]:
    file = Path(environment["CLINICAL_HOME"]) / "outcomes.json"
    done = run(environment, "clinical", "backfill", *arguments, "--json", str(file))
    assert file.exists(), done.stdout + done.stderr
    return done.returncode, {found["cancer"]: found for found in json.loads(file.read_text())["outcomes"]}


def start(environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(BIN / "clinical"), "backfill", *arguments],
        env=dict(environment),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], bool], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def runs(home: Path, *statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        return list(instance.get_runs(dg.RunsFilter(statuses=list(statuses) or None)))


def model_digest(home: Path, cancer: str) -> str:
    return json.loads((home / "objects" / "references" / "trained_model" / f"{cancer}.json").read_text())["digest"]


@pytest.fixture(scope="module")
def interrupted(environment: dict[str, str]) -> Path:
    """A backfill whose every process was killed while the first runs were on their way."""
    home = Path(environment["CLINICAL_HOME"])
    process = start(environment, *CANCERS, "--jobs", "2")
    wait_for(lambda: bool(list((home / "objects").glob("snapshots/*/*/manifest.json"))))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert runs(home, dg.DagsterRunStatus.STARTED)
    return home


@pytest.fixture(scope="module")
def completed(environment: dict[str, str], interrupted: Path) -> dict[str, dict[str, object]]:
    code, found = outcomes(environment, *CANCERS, "--jobs", "2")
    assert code == 0
    return found


def test_the_same_command_goes_on_after_a_kill(completed: dict[str, dict[str, object]], interrupted: Path) -> None:
    assert completed["prostate"]["status"] == "ok"
    assert float(str(completed["breast_fna"]["discrimination"])) > 0.95
    assert runs(interrupted, dg.DagsterRunStatus.STARTED) == []


def test_a_refusal_is_an_answer_with_its_reason(completed: dict[str, dict[str, object]]) -> None:
    refused = completed["melanoma"]
    assert (refused["status"], refused["scope"]) == ("refused", "none")
    assert "MP" in str(refused["reason"])


def test_what_is_unchanged_is_not_run_again(
    environment: dict[str, str], completed: dict[str, dict[str, object]], interrupted: Path
) -> None:
    before = len(runs(interrupted))
    code, found = outcomes(environment, *CANCERS)
    assert code == 0
    assert {entry["status"] for entry in found.values()} == {"unchanged"}
    assert found["melanoma"]["scope"] == "none"
    assert len(runs(interrupted)) == before


def test_a_killed_worker_fails_its_own_cancer_type_only(
    environment: dict[str, str], completed: dict[str, dict[str, object]], interrupted: Path
) -> None:
    file = interrupted / "killed.json"
    process = start(environment, "prostate", "breast_fna", "--jobs", "1", "--again", "--json", str(file))
    wait_for(lambda: bool(runs(interrupted, dg.DagsterRunStatus.STARTED)))
    workers = [p for p in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in str(p.cmdline())]
    workers[0].kill()
    assert process.wait(300) == 1
    found = {entry["cancer"]: entry for entry in json.loads(file.read_text())["outcomes"]}
    assert (found["prostate"]["status"], found["breast_fna"]["status"]) == ("failed", "ok")
    assert "killed by signal 9" in found["prostate"]["reason"]
    assert runs(interrupted, dg.DagsterRunStatus.STARTED) == []


def test_a_single_run_elsewhere_gives_the_same_model(
    environment: dict[str, str], completed: dict[str, dict[str, object]], interrupted: Path, tmp_path: Path
) -> None:
    (tmp_path / "dagster").mkdir()
    elsewhere = {**environment, "CLINICAL_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")}
    elsewhere["OMP_NUM_THREADS"] = "2"
    selection = "raw_trial_data,features,trained_model"
    done = run(
        elsewhere, "dagster", "asset", "materialize", "-m", "clinical_assets.definitions",
        "--select", selection, "--partition", "prostate",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert model_digest(tmp_path, "prostate") == model_digest(interrupted, "prostate")
