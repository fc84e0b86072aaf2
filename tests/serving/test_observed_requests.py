"""One patient's request, seen from outside: one trace over gateway and model, a log line, counters; nobody in them."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy.exc import IntegrityError

from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.foundation.logs import FACTS, JsonLines, PlainLines
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.monitoring import exporter
from clinical_assets.rollout.routing import RouteState
from clinical_assets.rollout.tables import predictions
from clinical_assets.serving import control
from clinical_assets.serving.client import tensors
from clinical_assets.serving.envoy import EnvoyRouter
from clinical_assets.serving.ports import Ports
from clinical_assets.serving.tracing import Spans, TracingError
from tests.e2e.conftest import free_ports as free
from tests.serving.conftest import CANCER, Hospital, free_ports, make_hospital, port_environment, wait_until

PATIENT = "feedface" * 4
REQUEST = "hospital-4711-encounter"
AGE, NODES = 61.8125, 17
SMUGGLED = "born-1961-08-12"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SECRETS = (PATIENT, REQUEST, str(AGE), SMUGGLED, "4711", "refused-value")


@dataclass
class Collector:
    """An OTLP/HTTP collector: spans as they arrive, with the name of their service."""

    spans: list[tuple[str, Any]] = field(default_factory=list)
    raw: bytes = b""

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(a.value.string_value for a in resource.resource.attributes if a.key == "service.name")
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def joined(self) -> bool:
        servers = self.of("clinical-model-server")
        parents = {span.span_id for span in self.of("clinical-gateway")}
        return len(servers) >= 6 and all(span.parent_span_id in parents for span in servers)

    def of(self, service: str) -> list[Any]:
        return [span for name, span in self.spans if name == service]


@dataclass
class Seen:
    """A data plane through which one request of a patient, one with a bad value and one without a model have gone."""

    hospital: Hospital
    ports: Ports
    collector: Collector
    metrics: str
    risk: float
    rows: list[tuple[Any, ...]]

    @property
    def logs(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in (self.hospital.home.dataplane / "logs").iterdir()}


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """Envoy sends its spans in chunks."""
    if "content-length" in request.headers:
        return request.rfile.read(int(request.headers["content-length"]))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, models: tuple[FamilyModel, FamilyModel]) -> Iterator[Seen]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_POST(self) -> None:
            collector.take(_body(self))
            self.send_response(200)
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    hospital = make_hospital(tmp_path_factory.mktemp("hospital"), models)
    ports = free_ports()
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "CLINICAL_LOG_LEVEL": "INFO",
        "DAGSTER_HOME": str(hospital.home.dagster),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("CLINICAL_DATABASE_URL", raising=False)
        for variable, value in (port_environment(ports) | settings).items():
            patch.setenv(variable, value)
        control.ensure_running(hospital.home)
        try:
            yield _seen(hospital, ports, collector)
        finally:
            control.stop(hospital.home)
            server.shutdown()
            server.server_close()


def _seen(hospital: Hospital, ports: Ports, collector: Collector) -> Seen:
    for digest, keep in ((hospital.champion, None), (hospital.challenger, hospital.champion)):
        hospital.approve(digest)
        hospital.desired.place(CANCER, digest, keep)
    router = EnvoyRouter(hospital.home.dataplane, hospital.records)
    route = RouteState(CANCER, "r1", hospital.champion, hospital.challenger, 0, mirror=True)
    router.apply(route, time.time())
    headers = {
        "x-patient-id": PATIENT, "x-request-id": REQUEST, "user-agent": f"ward-{SMUGGLED}",
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
        "tracestate": f"patient={SMUGGLED}", "baggage": f"dob={SMUGGLED}",
    }  # fmt: skip
    row = {"age": AGE, "nodes": NODES, "grade": "moderate", "obstruct": 0.0}
    url = f"http://127.0.0.1:{ports.gateway}/v2/models/{CANCER}/infer?name={SMUGGLED}"
    answer = httpx.post(url, json={"inputs": tensors([row])}, headers=headers)
    assert answer.status_code == 200, answer.text
    bad = {**row, "grade": "refused-value"}
    assert httpx.post(url, json={"inputs": tensors([bad])}, headers=headers).status_code == 422
    again = {**row, "nodes": NODES + 1}
    assert httpx.post(url, json={"inputs": tensors([again])}, headers=headers).status_code == 409

    def stored() -> list[tuple[Any, ...]]:
        query = "SELECT request_id, arm FROM predictions ORDER BY arm"
        with hospital.ledger.engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]

    wait_until(lambda: len(stored()) == 2, 10, "answer and copy are recorded")
    wait_until(collector.joined, 20, "spans of three requests and their copies, each with its parent in the gateway")
    addresses = [f"{ports.blue}/metrics", f"{ports.green}/metrics", f"{ports.admin}/stats/prometheus"]
    metrics = "".join(httpx.get(f"http://127.0.0.1:{address}").text for address in addresses)
    (at,) = free(1)
    running, _ = exporter.serve(hospital.home, "127.0.0.1", at)
    metrics += httpx.get(f"http://127.0.0.1:{at}/metrics").text
    running.shutdown()
    running.server_close()
    risk = answer.json()["outputs"][0]["data"][0]
    return Seen(hospital, ports, collector, metrics, risk, stored())


def test_gateway_and_model_spans_are_one_trace(seen: Seen) -> None:
    gateway, servers = seen.collector.of("clinical-gateway"), seen.collector.of("clinical-model-server")
    assert {span.trace_id.hex() for span in (*gateway, *servers)} == {TRACE}
    assert seen.collector.joined()
    ids = {span.span_id.hex() for span in gateway}
    assert {span.parent_span_id.hex() for span in gateway} - ids == {"b7ad6b7169203331"}  # the caller's
    attributes = [{a.key: a.value for a in span.attributes} for span in servers]
    told = {(a["clinical.cancer"].string_value, a["clinical.arm"].string_value) for a in attributes}
    assert {(CANCER, "champion"), (CANCER, "shadow")} <= told
    answered = next(a for a in attributes if a["clinical.arm"].string_value == "champion")
    assert answered["clinical.digest"].string_value == seen.hospital.champion[:12]
    assert answered["http.response.status_code"].int_value == 200


def test_the_callers_request_id_is_the_key_of_the_log_as_before(seen: Seen) -> None:
    assert seen.rows == [(REQUEST, "champion"), (REQUEST, "shadow")]


def test_every_request_is_one_line_of_json(seen: Seen) -> None:
    lines = [json.loads(line) for name in ("blue.log", "green.log") for line in seen.logs[name].splitlines()]
    requests = [line for line in lines if line["event"] == "inference"]
    assert {(line["arm"], line["code"]) for line in requests} >= {
        ("champion", 200),
        ("shadow", 200),
        ("", 422),
        ("", 409),
    }
    assert all(line.keys() == {*("at", "level", "logger", "event"), *("cancer", "arm", "digest", "code", "ms")}
               for line in requests)  # fmt: skip


def told(secret: str, text: str) -> bool:
    """By itself: four digits within a longer number are no patient."""
    return re.search(rf"(?<![\d.]){re.escape(secret)}(?!\d)", text) is not None


def test_no_patient_is_in_traces_logs_or_metrics(seen: Seen) -> None:
    assert f'clinical_risk_score_count{{arm="champion",cancer="{CANCER}"' in seen.metrics
    assert "clinical_served_weight_ratio" in seen.metrics
    said = {**seen.logs, "metrics": seen.metrics, "traces": seen.collector.raw.decode(errors="replace")}
    said["traces"] += str(seen.collector.spans)
    secrets = (*SECRETS, str(seen.risk))
    assert [(where, secret) for where, text in said.items() for secret in secrets if told(secret, text)] == []
    assert seen.hospital.champion[:12] in said["traces"]
    assert "withheld" in said["traces"]


def test_what_a_database_says_of_a_row_is_not_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A library's error quotes the values that it was given; the log names the kind of error and the place."""
    engine = engine_for(f"sqlite:///{tmp_path / 'ledger.db'}")
    create_tables(engine)
    row = {"seq": 1, "request_id": REQUEST, "patient": PATIENT, "previous": "", "entry_hash": ""}
    with pytest.raises(IntegrityError) as refused, engine.begin() as connection:
        connection.execute(predictions.insert(), row)
    assert PATIENT not in str(refused.value)
    engine.dispose()
    for formatter in (JsonLines(), PlainLines()):
        logger, handler = logging.getLogger("observed"), logging.StreamHandler()
        handler.setFormatter(formatter)
        logger.addHandler(handler)
        try:
            float(PATIENT + "x")
        except ValueError:
            logger.exception("a value cannot be read", extra={FACTS: {"cancer": CANCER}})
        logger.removeHandler(handler)
        said = capsys.readouterr().err
        assert PATIENT not in said
        assert "ValueError" in said
        assert "test_observed_requests.py" in said


def test_tracing_is_off_by_default_and_a_wrong_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    assert Spans.from_env() is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector")
    with pytest.raises(TracingError, match="http://HOST:4318"):
        Spans.from_env()
