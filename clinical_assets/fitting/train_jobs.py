"""Fits as TrainJobs of the cluster: created once, adopted by who asks again, watched, deleted when cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from clinical_assets.fitting.fits import FitEvent, FitFailed, FitInterrupted, Report
from clinical_assets.fitting.train_job import (
    ATTEMPT,
    CONTAINER,
    POD_LABEL,
    Manifest,
    Trainer,
    name_of,
    state_of,
    train_job,
    trouble_of,
)
from clinical_assets.rollout.routing import RouteRejected, RoutingUnavailable
from clinical_assets.serving.kubernetes.api import KubernetesApi, LostRace

Answer = TypeVar("Answer")

LOG_LINES = 200
INSTALL = "install Kubeflow Trainer and deploy/kubernetes/components/train-jobs"
WATCH_S = 30


@dataclass(frozen=True)
class Patience:
    """Seconds.

    Attributes:
        start: until a pod runs; time in a queue (`Suspended`) does not count.
        finish: from the pod's start to the end; the job itself has the same deadline.
        settle: until a result written by a pod is seen on the shared volume.
        pause: before another attempt, doubled each time, and between questions to an API that does not answer.
        going: until a deleted job is gone.
    """

    start: float = 900.0
    finish: float = 7200.0
    settle: float = 30.0
    pause: float = 5.0
    going: float = 120.0


@dataclass
class TrainJobRunner:
    """
    Attributes:
        retries: further attempts after the infrastructure failed; a fit that cannot succeed is not tried again.
    """

    api: KubernetesApi
    trainer: Trainer
    retries: int = 2
    patience: Patience = field(default_factory=Patience)
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def run(self, folder: Path, report: Report) -> None:
        """See `Runner`. A run that is cancelled takes its job with it; one that dies leaves it to the next run."""
        try:
            self._run(folder, report)
        except Exception:
            raise
        except BaseException:  # an interrupt: somebody cancelled the run, or its pod is being taken away
            self._cancel(folder.name, report)
            raise

    def _run(self, folder: Path, report: Report) -> None:
        trouble = ""
        for attempt in range(1, self.retries + 2):
            if attempt > 1:
                self.sleep(self.patience.pause * 2 ** (attempt - 2))
            self._place(folder, attempt, report)
            ended, trouble = self._follow(folder, report)
            log = self._log(folder.name)
            if ended == "complete" and self._settled(folder):
                report(FitEvent(folder.name, "complete", more={"log": log}))
                self._remove(folder.name, wait=False)
                return
            trouble = trouble or "it is complete and its folder holds no result; do both sides see one volume?"
            report(FitEvent(folder.name, ended if ended != "complete" else "failed", trouble, {"log": log}))
            self._remove(folder.name, wait=True)
            self._give_up_if_hopeless(folder, ended, trouble)
        raise FitInterrupted(f"TrainJob {name_of(folder.name)} failed {self.retries + 1} times, last: {trouble}")

    def _place(self, folder: Path, attempt: int, report: Report) -> None:
        """Create the job, or adopt the one that is there; one that failed before this run asked is replaced."""
        path, plan = self._path(folder.name), folder.name
        held = self._patiently(lambda: self.api.get(path))
        if held and state_of(held)[0] == "failed":
            report(FitEvent(plan, "replaced", f"an earlier run left it failed: {state_of(held)[1]}"))
            self._remove(plan, wait=True)
            held = None
        if held:
            report(FitEvent(plan, "adopted", f"attempt {held['metadata'].get('annotations', {}).get(ATTEMPT, '?')}"))
            return
        try:
            if not self._patiently(lambda: self.api.create(path, train_job(self.trainer, plan, attempt))):
                raise FitFailed(f"the cluster knows no TrainJobs; {INSTALL}")
            report(FitEvent(plan, "created", f"attempt {attempt} of {self.retries + 1}"))
        except LostRace:  # another run of the same fit, or our own write whose answer was lost
            report(FitEvent(plan, "adopted", "it was created meanwhile"))
        except RouteRejected as error:
            raise FitFailed(f"the cluster refuses the TrainJob: {error}; {INSTALL}") from error

    def _follow(self, folder: Path, report: Report) -> tuple[str, str]:
        """Wait for the end: "complete", "failed", "stuck", "late" or "lost", and why."""
        path, plan, said = self._path(folder.name), folder.name, "created"
        began = self.monotonic()
        limit = began + self.patience.start
        while True:
            held = self._patiently(lambda: self.api.get(path))
            if held is None:
                return "lost", "somebody deleted the TrainJob"
            state, words = state_of(held)
            if state != said:
                if state not in ("complete", "failed"):
                    report(FitEvent(plan, state, words))
                if state == "running":
                    limit = self.monotonic() + self.patience.finish
                elif state == "queued" or said == "queued":
                    limit = self.monotonic() + (self.patience.finish if state == "queued" else self.patience.start)
                said = state
            if state == "complete":
                return "complete", ""
            if state == "failed":
                return "failed", self._trouble(plan) or words
            left = limit - self.monotonic()
            if left <= 0 and state == "running":
                return "late", f"it still ran after {self.patience.finish:.0f} s"
            if left <= 0:
                why = self._trouble(plan) or words or "its controller said nothing: is Kubeflow Trainer running?"
                return "stuck", f"no pod ran within {self.patience.start:.0f} s: {why}"
            self._await_change(path, held, min(WATCH_S, max(1.0, left)))

    def _await_change(self, path: str, held: Manifest, seconds: float) -> None:
        try:
            for state in self.api.watch(path, held["metadata"]["resourceVersion"], round(seconds)):
                if not state or state_of(state) != state_of(held):
                    return
        except RoutingUnavailable:
            self.sleep(self.patience.pause)

    def _give_up_if_hopeless(self, folder: Path, ended: str, trouble: str) -> None:
        """
        Raises:
            FitFailed: another attempt would end like this one.
        """
        from clinical_assets.modeling.network_jobs import read_failure

        if reason := read_failure(folder):
            raise FitFailed(f"the networks cannot be fitted: {reason}")
        if trouble.startswith("OOMKilled"):
            raise FitFailed(
                f"the fit needs more than {self.trainer.memory_mib} MiB and was killed; raise compute.memory_mib"
            )
        if ended == "stuck":
            raise FitInterrupted(f"TrainJob {name_of(folder.name)} was deleted: {trouble}")
        if ended == "late" or trouble.startswith("DeadlineExceeded"):
            raise FitFailed(f"TrainJob {name_of(folder.name)} {trouble}; raise compute.timeout_minutes")

    def _cancel(self, plan: str, report: Report) -> None:
        """One try: who is being taken away has no time. What is left over ends by its own deadline."""
        try:
            self.api.delete(self._path(plan))
            report(FitEvent(plan, "cancelled", "the TrainJob was deleted with its run"))
        except (RouteRejected, RoutingUnavailable) as error:
            report(FitEvent(plan, "left", f"the TrainJob could not be deleted: {error}"))

    def _settled(self, folder: Path) -> bool:
        limit = self.monotonic() + self.patience.settle
        while not (folder / "result").exists():
            if self.monotonic() >= limit:
                return False
            self.sleep(min(1.0, self.patience.pause))
        return True

    def _remove(self, plan: str, wait: bool) -> None:
        path = self._path(plan)
        held = self._patiently(lambda: self.api.get(path))
        if held is None:
            return
        try:
            self._patiently(lambda: self.api.delete(path, held["metadata"].get("uid", "")))
        except LostRace:  # it is another run's already
            return
        limit = self.monotonic() + self.patience.going
        while wait and (now := self._patiently(lambda: self.api.get(path))):
            if now["metadata"].get("uid") != held["metadata"].get("uid"):
                return
            if self.monotonic() >= limit:
                raise FitInterrupted(f"TrainJob {name_of(plan)} was deleted and is still there after a while")
            self.sleep(min(1.0, self.patience.pause))

    def _pods(self, plan: str) -> list[Manifest]:
        return self._patiently(lambda: self.api.select(self.trainer.pods, f"{POD_LABEL}={name_of(plan)}"))

    def _trouble(self, plan: str) -> str:
        return next((said for pod in self._pods(plan) if (said := trouble_of(pod))), "")

    def _log(self, plan: str) -> str:
        """What the pods wrote; a log that cannot be read is no reason to fail."""
        try:
            pods = [f"{self.trainer.pods}/{pod['metadata']['name']}" for pod in self._pods(plan)]
            return "\n".join(self.api.log(pod, CONTAINER, LOG_LINES) for pod in pods)
        except (RouteRejected, RoutingUnavailable, FitInterrupted) as error:
            return f"(no log: {error})"

    def _path(self, plan: str) -> str:
        return f"{self.trainer.jobs}/{name_of(plan)}"

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """An answer of the API, which may be away for a while."""
        limit = self.monotonic() + self.patience.start
        while True:
            try:
                return ask()
            except RoutingUnavailable as error:
                if self.monotonic() >= limit:
                    raise FitInterrupted(
                        f"the Kubernetes API did not answer for {self.patience.start:.0f} s: {error}"
                    ) from error
            self.sleep(self.patience.pause)
