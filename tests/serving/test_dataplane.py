"""The whole local data plane: supervisor, Envoy, two model servers, real models, signed records."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from clinical_assets.foundation.home import Home
from clinical_assets.gates.verdict import Verdict
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.rollout.routing import RouteState, RoutingUnavailable
from clinical_assets.serving import control
from clinical_assets.serving.client import GatewayClient, GatewayError, tensors
from clinical_assets.serving.envoy import EnvoyRouter, EnvoyTelemetry
from clinical_assets.serving.ports import Ports
from clinical_assets.serving.processes import ProcessSpec, SupervisedProcess
from clinical_assets.serving.pseudonym import Pseudonymiser
from tests.serving.conftest import CANCER, CONTRACT, HORIZON, ROW, Hospital, free_ports, make_hospital, port_environment
from tests.serving.conftest import wait_until as wait

PATIENT = "0123456789abcdef" * 2


class Stack:
    """A hospital whose data plane runs, with model A as champion and B placed as challenger."""

    def __init__(self, hospital: Hospital, ports: Ports, environment: dict[str, str]) -> None:
        self.hospital, self.ports, self.environment = hospital, ports, environment
        self.home = hospital.home
        self.router = EnvoyRouter(self.home.dataplane, hospital.records)
        self.client = GatewayClient(ports.gateway)

    def route(self, weight: int, mirror: bool = False, rollout: str = "r1") -> None:
        state = RouteState(CANCER, rollout, self.hospital.champion, self.hospital.challenger, weight, mirror)
        self.router.apply(state, time.time())

    def rest(self) -> None:
        self.router.apply(RouteState(CANCER, "", self.hospital.champion), time.time())

    def rows(self, request_id: str) -> list[tuple[str, ...]]:
        columns = "arm, digest, rollout_id, propensity, risk, status"
        query = f"SELECT {columns} FROM predictions WHERE request_id = ? ORDER BY arm"
        with self.hospital.ledger.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query, (request_id,))]

    def count(self) -> int:
        with self.hospital.ledger.engine.connect() as connection:
            return connection.exec_driver_sql("SELECT count(*) FROM predictions").scalar_one()

    def process(self, name: str) -> psutil.Process:
        record = json.loads((self.home.dataplane / "processes.json").read_text())[name]
        return psutil.Process(record["pid"])


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, models: tuple[FamilyModel, FamilyModel]) -> Iterator[Stack]:
    hospital = make_hospital(tmp_path_factory.mktemp("hospital"), models)
    ports = free_ports()
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in port_environment(ports).items():
            patch.setenv(variable, value)
        started = time.monotonic()
        assert control.ensure_running(hospital.home) == ports
        print(f"data plane ready after {time.monotonic() - started:.2f} s")
        for digest, keep in ((hospital.champion, None), (hospital.challenger, hospital.champion)):
            hospital.approve(digest)
            hospital.desired.place(CANCER, digest, keep)
        running = Stack(hospital, ports, port_environment(ports))
        running.rest()
        yield running
        control.stop(hospital.home)


def test_an_answer_is_the_models_risk_and_is_recorded_with_arm_weight_and_digest(
    stack: Stack, models: tuple[FamilyModel, FamilyModel]
) -> None:
    stack.rest()
    answer = stack.client.infer(CANCER, ROW, PATIENT, "plain-1")
    expected = float(models[0].risk([ROW], HORIZON)[0])
    assert answer.risk == pytest.approx(expected, abs=1e-5)
    assert (answer.digest, answer.arm, answer.evidence) == (stack.hospital.champion, "champion", "research")
    assert not answer.fallback
    assert stack.rows("plain-1") == [("champion", stack.hospital.champion, None, 0.0, answer.risk, "ok")]


def test_in_shadow_both_models_score_and_the_patient_sees_the_champion(
    stack: Stack, models: tuple[FamilyModel, FamilyModel]
) -> None:
    stack.route(0, mirror=True)
    answer = stack.client.infer(CANCER, ROW, PATIENT, "shadow-1")
    assert answer.arm == "champion"
    wait(lambda: len(stack.rows("shadow-1")) == 2, 5, "both scores")
    risks = [pytest.approx(float(model.risk([ROW], HORIZON)[0]), abs=1e-5) for model in models]
    assert stack.rows("shadow-1") == [
        ("champion", stack.hospital.champion, "r1", 0.0, risks[0], "ok"),
        ("shadow", stack.hospital.challenger, "r1", 0.0, risks[1], "ok"),
    ]


def test_in_a_split_arm_and_weight_in_force_are_recorded_and_mirrors_give_the_other_score(stack: Stack) -> None:
    stack.route(25, mirror=True)
    pseudonym = Pseudonymiser(stack.home.keys)
    arms = {}
    for number in range(40):
        answer = stack.client.infer(CANCER, ROW, pseudonym(CANCER, str(number)), f"split-{number}")
        arms[answer.request_id] = answer
    assert {answer.arm for answer in arms.values()} == {"champion", "challenger"}
    wait(lambda: all(len(stack.rows(request)) == 2 for request in arms), 5, "mirrored scores")
    for request, answer in arms.items():
        rows = {row[0]: row for row in stack.rows(request)}
        assert rows[answer.arm][1:4] == (answer.digest, "r1", 0.25)
        other = {stack.hospital.champion, stack.hospital.challenger} - {answer.digest}
        assert {rows["shadow"][1]} == other


def test_a_repeated_request_is_recorded_once_and_a_reused_id_is_refused(stack: Stack) -> None:
    stack.rest()
    first = stack.client.infer(CANCER, ROW, PATIENT, "again-1")
    assert stack.client.infer(CANCER, ROW, PATIENT, "again-1").risk == first.risk
    assert len(stack.rows("again-1")) == 1
    with pytest.raises(GatewayError, match=r"409.*used before"):
        stack.client.infer(CANCER, {**ROW, "age": 41.0, "nodes": 19.0}, PATIENT, "again-1")


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"age": 630.0}, 422, "check the unit"),
        ({"age": "63"}, 422, "number"),
        ({"grade": "G7"}, 422, "unknown category"),
        ({"smoker": 1.0}, 422, "not in the contract"),
        ({"age": None}, 422, "may not be missing"),
    ],
)
def test_bad_input_gets_a_reason_no_score_and_no_record(stack: Stack, change: dict, status: int, reason: str) -> None:
    stack.route(0, mirror=True)
    before = stack.count()
    with pytest.raises(GatewayError, match=reason) as caught:
        stack.client.infer(CANCER, {**ROW, **change}, PATIENT, "bad-1")
    assert caught.value.status == status
    time.sleep(0.05)
    assert stack.count() == before


def test_raw_bad_bodies_and_headers(stack: Stack) -> None:
    stack.rest()
    url = f"http://127.0.0.1:{stack.ports.gateway}/v2/models/{CANCER}/infer"
    good = {"inputs": tensors([ROW])}
    patient = {"x-patient-id": PATIENT}
    before = stack.count()
    with httpx.Client(trust_env=False) as http:
        nan = http.post(url, content=str(good).replace("'", '"').replace("63.0", "NaN"), headers=patient)
        assert (nan.status_code, "null for a missing value" in nan.text) == (400, True)
        assert http.post(url, content=b'{"inputs": []}', headers=patient).status_code == 400
        assert http.post(url, content=b" " * (1 << 21), headers=patient).status_code == 413
        named = http.post(url, json=good, headers={"x-patient-id": "Jane Doe 1950"})
        assert (named.status_code, "Jane" in named.text) == (400, False)
        assert http.post(url, json=good).status_code == 400
        direct = http.post(url.replace(str(stack.ports.gateway), str(stack.ports.blue)), json=good, headers=patient)
        assert (direct.status_code, "gateway" in direct.text) == (421, True)
    assert stack.count() == before


def test_outcomes_are_stored_once_checked_and_bound_to_a_prediction(stack: Stack) -> None:
    stack.rest()
    stack.client.infer(CANCER, ROW, PATIENT, "outcome-1")
    known = {"request_id": "outcome-1", "time": 400.0, "event": 1}
    assert stack.client.post_outcomes(CANCER, [known]) == {"stored": 1, "repeated": 0}
    assert stack.client.post_outcomes(CANCER, [known]) == {"stored": 0, "repeated": 1}
    for wrong, status in (
        ({**known, "time": 500.0}, 409),
        ({**known, "request_id": "never-seen"}, 404),
        ({"request_id": "outcome-1", "label": 1}, 422),
        ({**known, "time": -1.0}, 422),
        ({**known, "event": 2}, 422),
        ({**known, "name": "Jane Doe"}, 422),
    ):
        with pytest.raises(GatewayError) as caught:
            stack.client.post_outcomes(CANCER, [wrong])
        assert caught.value.status == status
        assert "Jane" not in str(caught.value)


def test_health_metadata_and_metrics(stack: Stack) -> None:
    stack.rest()
    stack.client.infer(CANCER, ROW, PATIENT)
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.ports.blue}", trust_env=False) as http:
        assert http.get("/v2/health/live").json() == {"live": True}
        ready = http.get("/v2/health/ready")
        assert ready.status_code == 200
        assert ready.json()["models"][CANCER]["state"] == "ready"
        metadata = http.get(f"/v2/models/{CANCER}").json()
        assert [column["name"] for column in metadata["inputs"]] == [column.name for column in CONTRACT.features]
        assert http.get(f"/v2/models/{CANCER}/ready").status_code == 200
        assert http.get("/v2/models/other").status_code == 404
        metrics = http.get("/metrics").text
    assert 'clinical_inference_requests_total{arm="champion",cancer="colon",code="200"' in metrics
    assert "clinical_prediction_log_group_size_count" in metrics


def test_latency_through_envoy_with_the_durable_log(stack: Stack) -> None:
    stack.route(0, mirror=True)
    seconds = []
    for number in range(200):
        started = time.perf_counter()
        stack.client.infer(CANCER, ROW, f"{number:032x}")
        seconds.append(time.perf_counter() - started)
    p50, p99 = statistics.median(seconds) * 1e3, sorted(seconds)[197] * 1e3
    rss = {name: stack.process(name).memory_info().rss / 2**20 for name in ("envoy", "blue", "green")}
    print(f"latency p50 {p50:.1f} ms, p99 {p99:.1f} ms; RSS MiB { ({k: round(v) for k, v in rss.items()}) }")
    assert p50 < 50
    loaded = {"torch", "sklearn", "mlflow", "xgboost", "dagster"}
    maps = Path(f"/proc/{stack.process('blue').pid}/maps")
    if maps.exists():
        assert not any(f"/{name}/" in maps.read_text() for name in loaded)


def test_100_reweights_of_real_servers_lose_no_request(stack: Stack) -> None:
    stack.route(5)
    statuses: Counter[int] = Counter()
    done = threading.Event()

    def load(worker: int) -> None:
        number = 0
        with GatewayClient(stack.ports.gateway) as client:
            while not done.is_set():
                number += 1
                try:
                    client.infer(CANCER, ROW, f"{worker}{number:031x}")
                    statuses[200] += 1
                except GatewayError as error:
                    statuses[error.status] += 1

    workers = [threading.Thread(target=load, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    try:
        for step in range(100):
            stack.route((step * 37) % 101, mirror=step % 2 == 0)
    finally:
        done.set()
        for worker in workers:
            worker.join()
    print(f"real servers: {dict(statuses)} during 100 reweights")
    assert set(statuses) == {200}


def test_killed_and_hung_processes_come_back_and_patients_are_answered(stack: Stack) -> None:
    stack.route(100)
    assert stack.client.infer(CANCER, ROW, PATIENT).digest == stack.hospital.challenger
    restarts = control.status(stack.home).restarts
    stack.process("green").kill()
    stood_in = stack.client.infer(CANCER, ROW, PATIENT, "fallback-1")
    assert (stood_in.digest, stood_in.arm, stood_in.fallback) == (stack.hospital.champion, "champion", True)
    assert stack.rows("fallback-1")[0][:3] == ("champion", stack.hospital.champion, None)
    wait(lambda: control.status(stack.home).restarts["green"] == restarts["green"] + 1, 10, "restart")
    wait(lambda: stack.client.infer(CANCER, ROW, PATIENT).arm == "challenger", 15, "challenger back")
    stack.rest()
    stack.process("blue").kill()
    assert stack.client.infer(CANCER, ROW, PATIENT, "after-kill").arm == "champion"
    wait(lambda: control.status(stack.home).ready, 15, "all healthy")
    stack.process("envoy").kill()
    wait(lambda: _answered(stack), 10, "Envoy back with its routes")
    hung = stack.process("green")
    hung.send_signal(signal.SIGSTOP)
    wait(lambda: not hung.is_running(), 20, "hung process killed")
    wait(lambda: control.status(stack.home).ready, 15, "all healthy")


def _answered(stack: Stack) -> bool:
    try:
        return stack.client.infer(CANCER, ROW, PATIENT).arm == "champion"
    except GatewayError:
        return False


def test_a_killed_supervisor_leaves_patients_served_and_its_successor_takes_over(stack: Stack) -> None:
    stack.rest()
    wait(lambda: control.status(stack.home).ready, 15, "all healthy")
    pids = {name: stack.process(name).pid for name in ("envoy", "blue", "green")}
    supervisor = control.status(stack.home).supervisor
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    wait(lambda: control.status(stack.home).supervisor is None, 5, "supervisor gone")
    assert stack.client.infer(CANCER, ROW, PATIENT).arm == "champion"
    stack.process("green").kill()
    (stack.home.dataplane / "processes.json").unlink()  # killed before it could write them down
    control.ensure_running(stack.home)
    assert {name: stack.process(name).pid for name in ("envoy", "blue")} == {k: pids[k] for k in ("envoy", "blue")}
    assert stack.process("green").pid != pids["green"]
    assert stack.client.infer(CANCER, ROW, PATIENT).arm == "champion"
    stack.route(10)


def test_a_second_supervisor_says_who_runs(stack: Stack) -> None:
    second = _supervise(stack.home.root, stack.environment)
    assert second.returncode == 1
    assert f"already run by process {control.status(stack.home).supervisor}" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_in_use_is_named_with_its_setting(stack: Stack, tmp_path: Path) -> None:
    environment = {**port_environment(free_ports()), "CLINICAL_GREEN_PORT": str(stack.ports.green)}
    other = _supervise(tmp_path / "elsewhere", environment)
    assert other.returncode == 1
    assert f"port {stack.ports.green}" in other.stderr
    assert "CLINICAL_GREEN_PORT" in other.stderr


def _supervise(home: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clinical_assets.serving.supervisor"]
    given = {**os.environ, **environment, "CLINICAL_HOME": str(home)}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60, check=False)


def test_a_start_that_fails_is_reported_in_the_supervisors_words(stack: Stack, tmp_path: Path) -> None:
    with pytest.raises(control.DataPlaneError, match=f"port {stack.ports.gateway} .gateway. is in use"):
        control.ensure_running(Home(tmp_path / "elsewhere"))


def test_telemetry_counts_requests_of_both_models(stack: Stack) -> None:
    stack.route(0, mirror=True)
    before = EnvoyTelemetry(stack.home.dataplane).counts(CANCER)
    for number in range(5):
        stack.client.infer(CANCER, ROW, PATIENT, f"counted-{number}")
    wait(lambda: len(stack.rows("counted-4")) == 2, 5, "copies")
    after = EnvoyTelemetry(stack.home.dataplane).counts(CANCER)
    assert isinstance(before, dict)
    assert isinstance(after, dict)
    for digest in (stack.hospital.champion, stack.hospital.challenger):
        assert after[digest].requests - before[digest].requests == 5
        assert after[digest].errors == before[digest].errors


def test_a_model_without_verdict_with_a_narrow_one_or_tampered_is_refused_with_the_reason(
    stack: Stack, models: tuple[FamilyModel, FamilyModel]
) -> None:
    stack.rest()
    hospital = stack.hospital
    directory = stack.home.objects / "models" / hospital.challenger
    unjudged = "e" * 64
    hospital.desired.retire(CANCER, hospital.challenger)
    hospital.desired.place(CANCER, unjudged, hospital.champion)
    green = f"http://127.0.0.1:{stack.ports.green}/v2/health/ready"
    wait(lambda: "no decision record" in httpx.get(green, trust_env=False).text, 10, "refusal without record")
    assert httpx.get(green, trust_env=False).status_code == 503
    hospital.approve(unjudged, Verdict.BLOCK)
    wait(lambda: "grants none" in httpx.get(green, trust_env=False).text, 10, "refusal of a blocked model")
    hospital.desired.retire(CANCER, unjudged)
    weights = directory / "weights.safetensors"
    original = weights.read_bytes()
    weights.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    hospital.desired.place(CANCER, hospital.challenger, hospital.champion)
    wait(lambda: "ObjectDamaged" in httpx.get(green, trust_env=False).text, 10, "refusal of a tampered model")
    with pytest.raises(RoutingUnavailable, match="ObjectDamaged"):
        stack.route(5)
    weights.write_bytes(original)
    wait(lambda: httpx.get(green, trust_env=False).status_code == 200, 10, "the restored model")
    stack.route(5)


def test_sigterm_stops_everything_and_a_restart_finds_the_routes(stack: Stack) -> None:
    stack.route(25)
    route = stack.router.read(CANCER)
    processes = [stack.process(name) for name in ("envoy", "blue", "green")]
    assert control.stop(stack.home)
    assert not any(process.is_running() for process in processes)
    assert not control.stop(stack.home)
    moved = free_ports()
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in port_environment(moved).items():
            patch.setenv(variable, value)
        assert control.ensure_running(stack.home) == moved
        assert stack.router.read(CANCER) == route
        with GatewayClient(moved.gateway) as client:
            assert client.infer(CANCER, ROW, PATIENT).arm in ("champion", "challenger")
        control.stop(stack.home)


def test_a_process_that_cannot_start_is_retried_ever_more_slowly(tmp_path: Path) -> None:
    spec = ProcessSpec("x", (sys.executable, "-c", "raise SystemExit(3)"), {}, 1, "/", tmp_path / "x.log")
    process = SupervisedProcess(spec)
    deadline = time.monotonic() + 1.2
    while time.monotonic() < deadline:
        process.step()
        time.sleep(0.01)
    assert 2 <= process.restarts <= 3
    assert process.last_problem == "ended with code 3"
