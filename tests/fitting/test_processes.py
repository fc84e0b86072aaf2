"""Folders of fits, and the process beside the run that works them off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clinical_assets.fitting.fits import FitEvent, FitFailed, NetworkFits
from clinical_assets.fitting.process import UNFITTABLE, ProcessRunner
from clinical_assets.modeling import network_jobs
from clinical_assets.modeling.batched_networks import Schedule, train
from clinical_assets.modeling.families import Job, torch_model
from clinical_assets.modeling.network_jobs import DamagedResult, fit_job, main, read_result, values, write_job
from clinical_assets.modeling.outcomes import Outcomes
from tests.fitting.conftest import networks, same

ROOT = Path(network_jobs.__file__).parents[2]


def fits(directory: Path, events: list[FitEvent], smallest: int = 0) -> NetworkFits:
    return NetworkFits(directory, ProcessRunner(60.0, 1), smallest, events.append)


def test_a_process_gives_the_weights_of_this_one_and_is_started_once(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows, time, died = rng.normal(size=(80, 3)), np.ceil(rng.exponential(900.0, 80)), rng.random(80) < 0.6
    job = Job(rows, Outcomes.survival(time, died), 700.0, 1)
    events: list[FitEvent] = []
    at = np.array([700.0])
    (alone,), (beside,), (again,) = (
        torch_model.train([replace(job, fitter=fitter)])
        for fitter in (None, fits(tmp_path, events), fits(tmp_path, events))
    )
    assert np.array_equal(alone.log_cumulative_hazard(rows, at), beside.log_cumulative_hazard(rows, at))
    assert np.array_equal(alone.log_cumulative_hazard(rows, at), again.log_cumulative_hazard(rows, at))
    assert [event.state for event in events] == ["started", "complete", "found"]


def test_a_small_fit_stays_in_this_process(tmp_path: Path) -> None:
    wanted = networks()
    assert same(fits(tmp_path, [], values(wanted) + 1)(wanted, "cpu"), train(wanted))
    assert not list(tmp_path.iterdir())


def test_a_process_that_cannot_fit_is_not_started_again(tmp_path: Path) -> None:
    wanted, events = networks(), list[FitEvent]()
    (write_job(tmp_path, wanted, "cpu") / "plan.json").write_bytes(b"{}")
    with pytest.raises(FitFailed, match="cannot be fitted: KeyError"):
        fits(tmp_path, events)(wanted, "cpu")
    assert [event.state for event in events] == ["started", "failed"]


def test_equal_fits_have_equal_folders_and_others_have_not(tmp_path: Path) -> None:
    first = write_job(tmp_path, networks(), "cpu")
    assert write_job(tmp_path, networks(), "cpu") == first
    others = [
        write_job(tmp_path, networks(2), "cpu"),
        write_job(tmp_path, networks(), "cuda"),
        write_job(tmp_path, networks(), "cpu", Schedule(epochs=3)),
    ]
    assert len({first, *others}) == 4


def test_networks_that_share_rows_share_them_in_the_file(tmp_path: Path) -> None:
    with np.load(write_job(tmp_path, networks(), "cpu") / "inputs.npz") as stored:
        assert len([name for name in stored if name.startswith("rows_")]) == 3


def test_other_code_refuses_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_job(tmp_path, networks(), "cpu")
    monkeypatch.setattr(network_jobs, "code", lambda: {"networks": "other", "torch": "1.0"})
    assert main(folder) == UNFITTABLE
    assert "use one image for both sides" in network_jobs.read_failure(folder)
    monkeypatch.undo()
    assert main(folder) == network_jobs.DONE
    assert network_jobs.read_failure(folder) == ""


def test_a_missing_gpu_is_another_machines_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    folder = write_job(tmp_path, networks(), "cuda")
    assert main(folder) == network_jobs.NOT_NOW
    assert not (folder / "failure.json").exists()


@pytest.mark.parametrize("name", ["result.json", "weights.npz"])
def test_a_result_is_believed_by_its_digests_only(tmp_path: Path, name: str) -> None:
    wanted = networks()
    folder = write_job(tmp_path, wanted, "cpu")
    fit_job(folder)
    file = folder / "result" / name
    said = json.loads((folder / "result" / "result.json").read_text())
    file.write_bytes(
        json.dumps({**said, "plan": "0" * 64}).encode() if name == "result.json" else file.read_bytes() + b"0"
    )
    with pytest.raises(DamagedResult, match="digest"):
        read_result(folder, wanted)
    assert read_result(folder, wanted) is None


def test_weights_of_other_networks_are_refused(tmp_path: Path) -> None:
    wanted = networks()
    folder = write_job(tmp_path, wanted, "cpu")
    fit_job(folder)
    with pytest.raises(DamagedResult, match="shapes"):
        read_result(folder, [*wanted[:2], replace(wanted[2], units=4)])


def test_the_runner_needs_torch_and_numpy_alone(tmp_path: Path) -> None:
    """On a GPU machine with nothing else installed: the package's own files, and no other library is asked for."""
    for name in ("modeling/network_jobs", "modeling/batched_networks", "modeling/__init__", "__init__"):
        copied = tmp_path / "clinical_assets" / f"{name}.py"
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "clinical_assets" / f"{name}.py", copied)
    shutil.copytree(ROOT / "clinical_assets" / "foundation", tmp_path / "clinical_assets" / "foundation")
    folder = write_job(tmp_path / "fits", networks(), "cpu")
    program = (
        "import sys; from pathlib import Path; from clinical_assets.modeling import network_jobs as jobs\n"
        "code = jobs.main(Path(sys.argv[1])); loaded = {name.split('.')[0] for name in sys.modules}\n"
        "print(jobs.__file__); print(sorted({'dagster', 'pandas', 'scipy', 'sklearn', 'pydantic', 'yaml'} & loaded))\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == [str(tmp_path / "clinical_assets/modeling/network_jobs.py"), "[]"]
