"""What Kubeflow Trainer does with a TrainJob: admit it, run its command as a real process, set its conditions.

Admission follows the CRD of release 2.2: required and known fields, the pattern of names. Pods, logs and faults are
real processes and their ends; the JobSet in between is left out.
"""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from .api import ApiDouble, Refusal, Request
from .documents import Document

Fault = Literal["", "evicted", "out_of_memory", "unschedulable", "silent", "slow", "lost_result"]
"""What happens to one attempt: the node goes, the kernel kills, no node fits, no controller runs,
the fit takes a minute, the volume is empty."""

TRAINER = {"image", "command", "args", "env", "numNodes", "resourcesPerNode", "numProcPerNode"}
SPEC = {"runtimeRef", "initializer", "trainer", "runtimePatches", "suspend", "activeDeadlineSeconds", "managedBy"}
COMMAND = ["python", "-m", "clinical_assets.modeling.network_jobs"]
CONDITIONS = {
    "Complete": ("JobsCompleted", "jobset completed successfully"),
    "Failed": ("FailedJobs", "jobset failed due to one or more job failures"),
}


def admit(document: Document) -> None:
    """
    Raises:
        Refusal: the API server would not take it.
    """
    name, spec = document["metadata"]["name"], document.get("spec", {})
    problems = [f"unknown field spec.{key}" for key in spec.keys() - SPEC]
    problems += [f"unknown field spec.trainer.{key}" for key in spec.get("trainer", {}).keys() - TRAINER]
    if not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) or len(name) > 63:
        problems.append("metadata.name must match RFC 1035 DNS label format")
    if not spec.get("runtimeRef", {}).get("name"):
        problems.append("spec.runtimeRef.name is required")
    if problems:
        raise Refusal(422, "Invalid", f"TrainJob {name!r} is invalid: {'; '.join(problems)}")


class TrainerDouble:
    """Attributes: faults: what happens to the next attempts, in this order. `starts` counts processes."""

    def __init__(self, api: ApiDouble, mount: str, directory: Path) -> None:
        self.api, self.mount, self.directory = api, mount, directory
        self.faults: list[Fault] = []
        self.starts = 0
        self._processes: dict[str, BaseProcess] = {}
        self._forks = multiprocessing.get_context("forkserver")  # imports torch once, and runs no threads
        self._forks.set_forkserver_preload(["clinical_assets.modeling.network_jobs", __name__])
        self._threads: list[threading.Thread] = []
        api.before_write = self._before_write

    def _before_write(self, request: Request) -> None:
        if request.method == "POST" and request.path.endswith("/trainjobs"):
            admit(request.body)

    def _reconcile(self, stop: threading.Event) -> None:
        seen = 0
        while not stop.is_set():
            with self.api.changed:
                news = [event for event in self.api.events if event[0] > seen and "/trainjobs/" in event[2]]
                seen = self.api.version
                if not news:
                    self.api.changed.wait(0.05)
            for _, kind, path, document in news:
                if kind == "ADDED":
                    thread = threading.Thread(target=self._run, args=(path, document), daemon=True)
                    thread.start()
                    self._threads.append(thread)
                elif kind == "DELETED":
                    self._stop(path)

    def _run(self, path: str, job: Document) -> None:
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "silent":
            return
        pod = self._pod(path)
        if fault == "unschedulable":
            reason = {"reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}
            self._write_pod(
                path, {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **reason}]}
            )
            self.api.set_status(path, {"jobsStatus": [_counts(active=1)]})
            return
        self._write_pod(path, {"phase": "Running"})
        self.api.set_status(path, {"jobsStatus": [_counts(active=1, ready=1)]})
        trainer = job["spec"]["trainer"]
        assert trainer["command"] == COMMAND
        (folder,) = [one.replace(self.mount, str(self.directory), 1) for one in trainer["args"]]
        log = self.directory / f"{path.rpartition('/')[2]}-{self.starts}.log"
        environment = {one["name"]: one["value"] for one in trainer["env"]}
        process = self._forks.Process(target=_work, args=(fault, folder, str(log), environment), daemon=True)
        self.starts += 1
        self._processes[path] = process
        process.start()
        if fault in ("evicted", "out_of_memory"):
            while not log.exists() or not log.read_text():
                time.sleep(0.01)
            process.kill()
        process.join()
        self.api.logs[pod] = log.read_text() if log.exists() else ""
        code = process.exitcode or 0
        self._write_pod(path, _ended(fault, code))
        self._finish(path, "Complete" if code == 0 else "Failed")

    def _finish(self, path: str, kind: str) -> None:
        reason, message = CONDITIONS[kind]
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        counts = _counts(succeeded=int(kind == "Complete"), failed=int(kind == "Failed"))
        self.api.set_status(path, {"conditions": [condition], "jobsStatus": [counts]})

    def _pod(self, path: str) -> str:
        collection, _, name = path.rpartition("/")
        namespace = re.search(r"/namespaces/([^/]+)/", collection)
        assert namespace is not None
        return f"/api/v1/namespaces/{namespace[1]}/pods/{name}-node-0-0-abcde"

    def _write_pod(self, path: str, status: Document) -> None:
        pod, name = self._pod(path), path.rpartition("/")[2]
        with self.api.changed:
            if path not in self.api.objects:  # deleted meanwhile
                return
            if pod not in self.api.objects:
                labels = {"jobset.sigs.k8s.io/jobset-name": name, "jobset.sigs.k8s.io/replicatedjob-name": "node"}
                body = {"kind": "Pod", "metadata": {"name": pod.rpartition("/")[2], "labels": labels}, "status": {}}
                self.api.handle(Request("POST", pod.rpartition("/")[0], body=body))
        self.api.set_status(pod, status)

    def _stop(self, path: str) -> None:
        process = self._processes.pop(path, None)
        if process is not None and process.is_alive():
            process.terminate()
        with self.api.changed:
            self.api.objects.pop(self._pod(path), None)

    @contextmanager
    def running(self) -> Iterator[TrainerDouble]:
        stop = threading.Event()
        thread = threading.Thread(target=self._reconcile, args=(stop,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
            for path in list(self._processes):
                self._stop(path)
            for one in self._threads:
                one.join(10)


def _work(fault: Fault, folder: str, log: str, environment: dict[str, str]) -> None:
    """The container's process: what `COMMAND` does, in a fork that has torch already."""
    from clinical_assets.modeling import network_jobs

    os.environ.update(environment)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    if fault in ("evicted", "out_of_memory", "slow"):
        print("fitting", flush=True)
        time.sleep(60)
    sys.exit(0 if fault == "lost_result" else network_jobs.main(Path(folder)))


def _counts(**given: int) -> Document:
    return {"name": "node", "ready": 0, "succeeded": 0, "failed": 0, "active": 0, "suspended": 0, **given}


def _ended(fault: Fault, code: int) -> Document:
    if fault == "evicted":
        return {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
    reason = "OOMKilled" if fault == "out_of_memory" else "Completed" if code == 0 else "Error"
    ended = {"terminated": {"exitCode": 137 if fault == "out_of_memory" else code, "reason": reason}}
    phase = "Succeeded" if code == 0 else "Failed"
    return {"phase": phase, "containerStatuses": [{"name": "node", "state": ended}]}
