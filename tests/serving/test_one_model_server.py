"""The model server as a pod runs it: one model, and mirrored copies on a port of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from clinical_assets.modeling.model import FamilyModel
from clinical_assets.rollout.tables import predictions
from clinical_assets.serving import arms
from clinical_assets.serving.client import tensors
from clinical_assets.serving.processes import python_path
from tests.serving.conftest import CANCER, ROW, Hospital, free_ports, make_hospital, wait_until


@dataclass
class Pod:
    """The challenger's pod."""

    hospital: Hospital
    answers: int
    copies: int

    def ask(self, port: int, arm: str, **headers: str) -> httpx.Response:
        routed = {
            arms.ARM: arm, arms.CHAMPION: self.hospital.champion, arms.CHALLENGER: self.hospital.challenger,
            arms.WEIGHT: "0", arms.ROLLOUT: "r1", arms.COPY_FOR: arms.ORIGINAL, arms.PATIENT: f"{7:032x}", **headers,
        }  # fmt: skip
        with httpx.Client(trust_env=False) as http:
            url = f"http://127.0.0.1:{port}/v2/models/{CANCER}/infer"
            return http.post(url, json={"inputs": tensors([ROW])}, headers=routed)

    def recorded(self, request: str) -> list[tuple[str, str]]:
        with self.hospital.ledger.engine.connect() as connection:
            rows = connection.execute(select(predictions).where(predictions.c.request_id == request))
            return [(row.arm, row.digest) for row in rows]


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory, models: tuple[FamilyModel, FamilyModel]) -> Iterator[Pod]:
    hospital = make_hospital(tmp_path_factory.mktemp("pod"), models)
    hospital.approve(hospital.challenger)
    ports = free_ports()
    command = [
        *(sys.executable, "-m", "clinical_assets.serving.model_server", "--cancer", CANCER),
        *("--digest", hospital.challenger, "--home", str(hospital.home.root)),
        *("--port", str(ports.blue), "--copies-port", str(ports.green)),
    ]
    environment = {**os.environ, "PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"}
    log = Path(hospital.home.root) / "pod.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)

    def ready() -> bool:
        assert process.poll() is None, log.read_text()
        path = f"http://127.0.0.1:{ports.blue}/v2/models/{CANCER}/versions/{hospital.challenger}/ready"
        try:
            return httpx.get(path, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(ready, 60, "the model")
        yield Pod(hospital, ports.blue, ports.green)
    finally:
        process.terminate()
        assert process.wait(20) in (0, -signal.SIGTERM)


def test_a_patients_request_is_answered_in_its_arm(pod: Pod) -> None:
    answer = pod.ask(pod.answers, "challenger", **{arms.REQUEST: "one"})
    assert (answer.status_code, answer.headers["x-model-digest"]) == (200, pod.hospital.challenger)
    assert pod.recorded("one") == [("challenger", pod.hospital.challenger)]


def test_what_comes_to_the_copies_port_is_a_copy_whatever_it_says_of_itself(pod: Pod) -> None:
    assert pod.ask(pod.copies, "champion", **{arms.REQUEST: "two"}).status_code == 200
    assert pod.recorded("two") == [("shadow", pod.hospital.challenger)]
    assert pod.ask(pod.copies, "champion", **{arms.REQUEST: "three", arms.COPY_FOR: "champion"}).status_code == 200
    assert pod.recorded("three") == [("shadow", pod.hospital.challenger)]


def test_a_copy_of_its_own_answer_is_neither_scored_nor_recorded_again(pod: Pod) -> None:
    assert pod.ask(pod.copies, "challenger", **{arms.REQUEST: "four"}).status_code == 204
    assert pod.recorded("four") == []


def test_a_pod_answers_for_its_own_model_only(pod: Pod) -> None:
    assert pod.ask(pod.answers, "champion", **{arms.REQUEST: "five"}).status_code == 503
