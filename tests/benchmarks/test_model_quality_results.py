"""A run survives interruption, a dead process and a broken cohort, and never mixes results of other code or data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from benchmarks.model_quality.__main__ import app
from benchmarks.model_quality.cohorts import Subjects, load_cohort
from benchmarks.model_quality.evaluation import Plan, key
from benchmarks.model_quality.results import SOURCE, Results, ResultsError, sole_writer
from benchmarks.model_quality.running import Job, run_jobs

PLAN = Plan(repeats=1)
RECORD = {"key": "k", "folds": [], "pooled": []}
CHEAP = ["--cancers", "melanoma,lung_advanced", "--procedures", "regression,null", "--repeats", "1"]


class Deadly(Plan):
    """Ends the process that unpickles it, as the kernel does when memory runs out."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


def job(slug: str = "melanoma", procedure: str = "null", plan: Plan = PLAN) -> Job:
    return Job(slug, procedure, plan, f"{slug}-{procedure}")


def start(out: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.model_quality", "--out", str(out), *arguments]
    root = Path(__file__).parents[2]
    return subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def records(path: Path) -> dict[tuple[str, str], Any]:
    stored = json.loads(path.read_bytes())["records"]
    return {(slug, name): record for slug, found in stored.items() for name, record in found.items()}


def test_finished_work_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results = Results.open(path, PLAN)
    results.describe("colon", {"kind": "survival"}, {"null": "k"})
    assert not results.finished("colon", "null")
    results.keep("colon", "null", RECORD)
    again = Results.open(path, PLAN)
    again.describe("colon", {"kind": "survival"}, {"null": "k"})
    assert again.finished("colon", "null")
    assert json.loads(path.read_bytes())["machine"]["libraries"]["numpy"]


def test_results_of_other_data_or_code_are_forgotten(tmp_path: Path) -> None:
    results = Results.open(tmp_path / "results.json", PLAN)
    results.describe("colon", {}, {"null": "k", "forest": "k"})
    results.keep("colon", "null", RECORD)
    results.keep("colon", "forest", RECORD)
    results.describe("colon", {}, {"null": "k", "forest": "changed"})
    assert results.finished("colon", "null")
    assert not results.finished("colon", "forest")


def test_a_failure_is_no_finished_work(tmp_path: Path) -> None:
    results = Results.open(tmp_path / "results.json", PLAN)
    results.describe("colon", {}, {"null": "k"})
    results.keep("colon", "null", {"key": "k", "error": "ValueError: no"})
    assert not results.finished("colon", "null")
    results.unreadable("colon", "package is gone")
    assert results.records["colon"] == {SOURCE: {"key": "", "error": "package is gone"}}


def test_another_plan_or_another_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    Results.open(path, PLAN).save()
    with pytest.raises(ResultsError, match="another plan"):
        Results.open(path, Plan(repeats=7))
    path.write_text('{"benchmark": "other"}')
    with pytest.raises(ResultsError, match="no results file"):
        Results.open(path, PLAN)


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with sole_writer(path), pytest.raises(ResultsError, match="another run"), sole_writer(path):
        pass


def test_the_key_follows_data_plan_and_procedure() -> None:
    cohort = load_cohort("melanoma", Subjects.ALL)
    keys = {key(cohort, "forest", PLAN), key(cohort, "platform", PLAN), key(cohort, "forest", Plan(seed=1))}
    training = load_cohort("melanoma", Subjects.TRAINING)
    assert training.outcomes.n < cohort.outcomes.n
    keys.add(key(training, "forest", PLAN))
    assert len(keys) == 4
    assert key(load_cohort("melanoma", Subjects.ALL), "forest", PLAN) in keys


def test_a_dead_process_and_a_broken_cohort_cost_themselves_only() -> None:
    jobs = [job(), job("colon", plan=Deadly()), job("no_such_cancer"), job("lung_advanced")]
    found = {each.slug: record for each, record in run_jobs(jobs, processes=2)}
    assert len(found) == 4
    assert "the process died" in found["colon"]["error"]
    assert "no_such_cancer" in found["no_such_cancer"]["error"]
    assert [len(found[slug]["folds"]) for slug in ("melanoma", "lung_advanced")] == [5, 5]


@pytest.mark.timeout(900)
def test_a_killed_run_continues_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model_quality.json"
    run = start(tmp_path, *CHEAP, "--jobs", "1")
    while not path.exists() and run.poll() is None:
        time.sleep(0.01)
    workers = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not psutil.wait_procs(workers, timeout=60)[1], "a process outlived the run it worked for"
    before = records(path)
    assert 0 < len(before) < 4
    run = start(tmp_path, *CHEAP, "--jobs", "1")
    output, _ = run.communicate()
    assert run.returncode == 0, output
    after = records(path)
    assert len(after) == 4
    assert {pair: after[pair] for pair in before} == before
    assert (tmp_path / "model_quality.md").read_text().startswith("# Model quality")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--cancers", "no_such"], "no_such"), (["--procedures", "magic"], "magic"), (["--subjects", "some"], "some")],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(tmp_path: Path, arguments: list[str], said: str) -> None:
    answer = CliRunner().invoke(app, ["--out", str(tmp_path), *arguments])
    assert answer.exit_code == 2
    assert said in answer.output
    assert not list(tmp_path.iterdir())
