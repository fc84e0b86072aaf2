"""Fits as TrainJobs: the weights of this process to the last bit, through retries, adoption, cancellation and outages.

The cluster is a double (its API over HTTP, Kubeflow Trainer's part by its CRD); every fit in it is a real process.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from clinical_assets.fitting.fits import FitFailed, FitInterrupted
from clinical_assets.fitting.train_job import Trainer, name_of, train_job
from clinical_assets.modeling.batched_networks import train
from clinical_assets.modeling.network_jobs import write_job
from tests.fitting.conftest import SHORT, FitCluster, networks, same
from tests.kubernetes_double.api import Refusal, Request
from tests.kubernetes_double.trainer import admit

PLAN = "ab" * 32


def test_a_fit_in_the_cluster_is_the_fit_in_this_process(cluster: FitCluster) -> None:
    wanted = networks()
    fits = cluster.fits()
    assert same(fits(wanted, "cpu"), train(wanted))
    assert cluster.states == ["created", "running", "complete"]
    assert "fitted 3 networks" in cluster.events[-1].more["log"]
    assert cluster.jobs == []  # and with it the pods
    fits.forget()
    assert not [path for path in cluster.directory.iterdir() if path.is_dir()]


def test_what_was_fitted_before_a_run_died_is_not_fitted_again(cluster: FitCluster) -> None:
    wanted = networks()
    first = cluster.fits()(wanted, "cpu")
    assert same(cluster.fits()(networks(), "cpu"), first)
    assert cluster.trainer.starts == 1
    assert cluster.states[-1] == "found"


def test_two_runs_that_ask_for_the_same_share_one_job(cluster: FitCluster) -> None:
    wanted, found = networks(n=400), []
    askers = [threading.Thread(target=lambda: found.append(cluster.fits()(wanted, "cpu"))) for _ in range(2)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert same(found[0], found[1])
    assert cluster.trainer.starts == 1
    assert "adopted" in cluster.states or "found" in cluster.states


def test_a_node_that_goes_away_costs_an_attempt(cluster: FitCluster) -> None:
    cluster.trainer.faults = ["evicted"]
    wanted = networks()
    assert same(cluster.fits()(wanted, "cpu"), train(wanted))
    failed = next(event for event in cluster.events if event.state == "failed")
    assert "Evicted" in failed.detail
    assert cluster.trainer.starts == 2


def test_attempts_end_and_leave_nothing(cluster: FitCluster) -> None:
    cluster.trainer.faults = ["evicted", "lost_result"]
    with pytest.raises(FitInterrupted, match="failed 2 times, last: it is complete and its folder holds no"):
        cluster.fits(retries=1)(networks(), "cpu")
    assert cluster.jobs == []
    assert cluster.trainer.starts == 2


def test_a_fit_that_cannot_succeed_is_not_tried_again(cluster: FitCluster) -> None:
    wanted = networks()
    folder = write_job(cluster.directory, wanted, "cpu")
    (folder / "inputs.npz").write_bytes(b"something else")
    with pytest.raises(FitFailed, match=r"cannot be fitted: ValueError: .*is not what the plan was written for"):
        cluster.fits()(wanted, "cpu")
    assert cluster.trainer.starts == 1


def test_too_little_memory_is_named_and_not_tried_again(cluster: FitCluster) -> None:
    cluster.trainer.faults = ["out_of_memory"]
    with pytest.raises(FitFailed, match=r"more than 4096 MiB and was killed; raise compute\.memory_mib"):
        cluster.fits()(networks(), "cpu")
    assert cluster.trainer.starts == 1


@pytest.mark.parametrize(
    ("fault", "why"), [("unschedulable", "3 Insufficient nvidia.com/gpu"), ("silent", "is Kubeflow Trainer running")]
)
def test_a_job_that_never_starts_says_why(cluster: FitCluster, fault: str, why: str) -> None:
    cluster.trainer.faults = [fault]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(FitInterrupted, match=rf"no pod ran within 0 s: .*{why}"):
        cluster.fits(patience=replace(SHORT, start=0.3))(networks(), "cpu")
    assert cluster.jobs == []


def test_a_fit_that_takes_too_long_is_stopped(cluster: FitCluster) -> None:
    cluster.trainer.faults = ["slow"]
    with pytest.raises(FitFailed, match=r"still ran after 0 s; raise compute\.timeout_minutes"):
        cluster.fits(patience=replace(SHORT, finish=0.2))(networks(), "cpu")
    assert cluster.jobs == []


def test_a_cancelled_run_takes_its_job_with_it(cluster: FitCluster) -> None:
    class Cancelled(BaseException):
        """As Dagster's own interrupt is none of the ordinary errors."""

    def report(event: object) -> None:
        cluster.events.append(event)  # pyright: ignore[reportArgumentType]
        if cluster.states[-1] == "running":
            raise Cancelled

    cluster.trainer.faults = ["slow"]
    fits = cluster.fits()
    fits.report = report
    with pytest.raises(Cancelled):
        fits(networks(), "cpu")
    assert cluster.states[-1] == "cancelled"
    assert cluster.jobs == []


def test_a_failed_job_that_a_dead_run_left_is_replaced(cluster: FitCluster) -> None:
    wanted = networks()
    folder = write_job(cluster.directory, wanted, "cpu")
    cluster.trainer.faults = ["evicted"]
    runner = cluster.runner()
    runner.api.create(f"{runner.trainer.jobs}/{name_of(folder.name)}", train_job(runner.trainer, folder.name, 1))
    wait_for_failure(cluster)
    assert same(cluster.fits(retries=0)(wanted, "cpu"), train(wanted))
    assert cluster.states[:2] == ["replaced", "created"]


def test_an_api_server_that_is_away_for_a_while_is_waited_for(cluster: FitCluster) -> None:
    api = cluster.trainer.api

    def outage() -> None:
        while "created" not in cluster.states:
            time.sleep(0.005)
        api.outage = "refuse"
        time.sleep(0.3)
        api.outage = ""

    breaker = threading.Thread(target=outage)
    breaker.start()
    wanted = networks()
    assert same(cluster.fits()(wanted, "cpu"), train(wanted))
    breaker.join()
    assert cluster.trainer.starts == 1


def test_a_write_whose_answer_is_lost_makes_one_job(cluster: FitCluster) -> None:
    api = cluster.trainer.api
    runner, wanted = cluster.runner(), networks()
    folder = write_job(cluster.directory, wanted, "cpu")

    def mend(pause: float) -> None:
        api.outage = ""
        time.sleep(pause)

    runner.sleep = mend
    create = runner.api.create

    def lost(path: str, body: dict[str, object]) -> object:
        runner.api.create = create
        api.outage = "lost_answer"
        return create(path, body)

    runner.api.create = lost  # pyright: ignore[reportAttributeAccessIssue]
    runner.run(folder, cluster.events.append)
    assert cluster.trainer.starts == 1
    assert cluster.states[0] == "adopted"


def test_a_result_that_was_changed_afterwards_is_fitted_anew(cluster: FitCluster) -> None:
    wanted = networks()
    cluster.fits()(wanted, "cpu")
    (weights,) = cluster.directory.glob("*/result/weights.npz")
    damaged = bytearray(weights.read_bytes())
    damaged[-200] ^= 1
    weights.write_bytes(bytes(damaged))
    assert same(cluster.fits()(wanted, "cpu"), train(wanted))
    assert "damaged" in cluster.states
    assert cluster.trainer.starts == 2


def test_without_its_rights_the_remedy_is_named(cluster: FitCluster) -> None:
    rules = cluster.trainer.api.rules
    name = next(iter(rules))
    rules[name] = [{**rule, "verbs": [verb for verb in rule["verbs"] if verb != "create"]} for rule in rules[name]]
    with pytest.raises(FitFailed, match=r"403 .*cannot create.*components/train-jobs"):
        cluster.fits()(networks(), "cpu")


def test_a_cluster_without_kubeflow_trainer_is_named(cluster: FitCluster) -> None:
    def unknown(request: Request) -> None:
        raise Refusal(404, "NotFound", f"the server could not find the requested resource {request.path}")

    cluster.trainer.api.before_write = unknown
    with pytest.raises(FitFailed, match="knows no TrainJobs; install Kubeflow Trainer"):
        cluster.fits()(networks(), "cpu")


def test_a_gpu_is_asked_for_and_a_queue_is_named() -> None:
    job = train_job(Trainer("platform:1", gpus=1, queue="research"), PLAN, 1)
    admit(job)
    resources = job["spec"]["trainer"]["resourcesPerNode"]
    assert (resources["limits"]["nvidia.com/gpu"], resources["requests"]["nvidia.com/gpu"]) == ("1", "1")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "research"


def test_the_double_refuses_what_the_crd_refuses() -> None:
    job = train_job(Trainer("platform:1"), PLAN, 1)
    with pytest.raises(Refusal, match=r"unknown field spec\.trainer\.volumes"):
        admit({**job, "spec": {**job["spec"], "trainer": {**job["spec"]["trainer"], "volumes": []}}})


def wait_for_failure(cluster: FitCluster) -> None:
    deadline = time.monotonic() + 10.0
    api = cluster.trainer.api
    while not any(api.objects[path].get("status", {}).get("conditions") for path in cluster.jobs):
        assert time.monotonic() < deadline
        time.sleep(0.02)
