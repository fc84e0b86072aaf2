"""Counters of a cluster: attributed, never counted twice, never guessed."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.evidence.latency import slow_rates, slower_than
from clinical_assets.rollout.routing import NoData, RouteState, RoutingUnavailable, ServiceCounts, Telemetry
from clinical_assets.serving.istio import IstioTelemetry, Prometheus
from clinical_assets.serving.istio.counters import CounterStore
from clinical_assets.serving.kubernetes.names import Names, workload

A, B = "a" * 64, "b" * 64
CANCER = "colon"
NOW = 1_800_000_000.0


class PrometheusDouble:
    """Answers each query with the given series."""

    def __init__(self) -> None:
        self.series: list[dict[str, Any]] = []
        self.buckets: list[dict[str, Any]] = []
        self.status = 200
        self.document: dict[str, Any] | None = None
        self.asked: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                owner.asked.append(parse_qs(urlsplit(self.path).query)["query"][0])
                found = owner.buckets if "_bucket" in owner.asked[-1] else owner.series
                answer = {"status": "success", "data": {"resultType": "matrix", "result": found}}
                body = json.dumps(owner.document or answer).encode()
                self.send_response(owner.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, digest: str, value: float, reporter: str = "source", pod: str = "g1", **labels: str) -> None:
        """The latest value of one series; an earlier one of the same labels is replaced."""
        metric = {"__name__": "istio_requests_total", "reporter": reporter, "pod": pod, "response_code": "200",
                  "destination_workload": workload(CANCER, digest), **labels}  # fmt: skip
        self.series = [entry for entry in self.series if entry["metric"] != metric]
        self.series.append({"metric": metric, "values": [[NOW - 30, "0"], [NOW - 10, str(value)]]})

    def time(self, digest: str, histogram: dict[str, float], reporter: str = "source", pod: str = "g1") -> None:
        """The latest cumulative histogram of one process, by upper bound in ms."""
        for bound, value in histogram.items():
            metric = {"reporter": reporter, "pod": pod, "le": bound, "destination_workload": workload(CANCER, digest)}
            self.buckets = [entry for entry in self.buckets if entry["metric"] != metric]
            self.buckets.append({"metric": metric, "value": [NOW - 10, str(value)]})


@dataclass
class Routes:
    route: RouteState | None = field(default_factory=lambda: RouteState(CANCER, "r1", A, B, 10))
    down: bool = False

    def read(self, cancer: str) -> RouteState | None:
        if self.down:
            raise RoutingUnavailable("no proxy answers")
        return self.route


@pytest.fixture(scope="module")
def running() -> Iterator[PrometheusDouble]:
    made = PrometheusDouble()
    yield made
    made.stop()


@pytest.fixture
def prometheus(running: PrometheusDouble) -> PrometheusDouble:
    running.series, running.buckets, running.status, running.document = [], [], 200, None
    return running


@pytest.fixture
def telemetry(prometheus: PrometheusDouble, tmp_path: Path) -> IstioTelemetry:
    engine = engine_for(f"sqlite:///{tmp_path / 'ledger.db'}")
    create_tables(engine)
    return IstioTelemetry(Prometheus(prometheus.url), Routes(), CounterStore(engine), Names(), lambda: NOW)


def test_requests_are_summed_over_pods_and_codes_and_attributed(
    telemetry: IstioTelemetry, prometheus: PrometheusDouble
) -> None:
    assert isinstance(telemetry, Telemetry)
    prometheus.count(A, 90)
    prometheus.count(A, 50, pod="g2")
    prometheus.count(B, 10)
    for code, number in (("503", 2), ("0", 1), ("422", 5), ("404", 1)):
        prometheus.count(B, number, response_code=code)
    assert telemetry.counts(CANCER) == {A: ServiceCounts(140, 0), B: ServiceCounts(19, 3)}
    assert all('destination_workload_namespace="clinical"' in query for query in prometheus.asked[-2:])


def test_a_challenger_without_weight_is_counted_on_its_copies_and_only_there(
    telemetry: IstioTelemetry, prometheus: PrometheusDouble
) -> None:
    prometheus.count(A, 90)
    prometheus.count(A, 90, reporter="destination", pod="a1")
    prometheus.count(B, 88, reporter="destination", pod="b1")
    prometheus.count(B, 2, reporter="destination", pod="b1", response_code="500")
    prometheus.count(B, 3, reporter="source")
    telemetry.routes.route = RouteState(CANCER, "r1", A, B, mirror=True)  # type: ignore[attr-defined]
    assert telemetry.counts(CANCER) == {A: ServiceCounts(90, 0), B: ServiceCounts(90, 2)}


def test_case_18_restarts_and_pods_that_are_gone_lose_nothing_and_count_nothing_twice(
    telemetry: IstioTelemetry, prometheus: PrometheusDouble
) -> None:
    prometheus.count(A, 100, pod="g1")
    prometheus.count(A, 40, pod="g2")
    assert telemetry.counts(CANCER) == {A: ServiceCounts(140, 0)}
    assert telemetry.counts(CANCER) == {A: ServiceCounts(140, 0)}
    prometheus.count(A, 5, pod="g1")
    assert telemetry.counts(CANCER) == {A: ServiceCounts(145, 0)}, "g1 restarted and has answered 5"
    prometheus.series = [entry for entry in prometheus.series if entry["metric"]["pod"] == "g1"]
    prometheus.count(A, 7, pod="g1")
    assert telemetry.counts(CANCER) == {A: ServiceCounts(147, 0)}, "g2 is gone, what it counted stays"
    prometheus.count(A, 1, pod="g3")
    assert telemetry.counts(CANCER) == {A: ServiceCounts(148, 0)}


def test_answer_times_are_summed_over_pods_and_a_restart_begins_a_whole_histogram_anew(
    telemetry: IstioTelemetry, prometheus: PrometheusDouble
) -> None:
    prometheus.count(A, 100)
    prometheus.time(A, {"5": 0, "25": 60, "250": 90, "+Inf": 100})
    prometheus.time(A, {"5": 1, "25": 6, "250": 9, "+Inf": 10}, pod="g2")
    prometheus.time(A, {"5": 7, "25": 7, "250": 7, "+Inf": 7}, reporter="destination", pod="a1")
    first = telemetry.counts(CANCER)[A].latency
    assert first == ((5.0, 1), (25.0, 66), (250.0, 99), (math.inf, 110))
    assert slow_rates(first)[0].above_ms == 25.0
    assert slower_than(first, 250.0) == 11
    prometheus.time(A, {"5": 3, "25": 3, "250": 3, "+Inf": 3})
    after = telemetry.counts(CANCER)[A].latency
    assert after == ((5.0, 4), (25.0, 69), (250.0, 102), (math.inf, 113)), "three quick answers since the restart"
    assert slower_than(after, 250.0) == 11, "a restart makes nobody slow"


def test_answer_times_in_shadow_are_those_of_the_challengers_copies_and_read_only_where_wanted(
    telemetry: IstioTelemetry, prometheus: PrometheusDouble
) -> None:
    telemetry.routes.route = RouteState(CANCER, "r1", A, B, mirror=True)  # type: ignore[attr-defined]
    prometheus.count(B, 4, reporter="destination", pod="b1")
    prometheus.time(B, {"25": 3, "+Inf": 4}, reporter="destination", pod="b1")
    prometheus.time(B, {"25": 0, "+Inf": 9})
    assert telemetry.counts(CANCER)[B].latency == ((25.0, 3), (math.inf, 4))
    prometheus.buckets.append(prometheus.buckets[0])
    with pytest.raises(ValueError, match="two series"):
        telemetry.counts(CANCER)
    assert replace(telemetry, timed=lambda cancer: False).counts(CANCER)[B].requests == 4
    assert "_bucket" not in prometheus.asked[-1]


def test_case_15_without_prometheus_or_route_there_is_no_data(
    telemetry: IstioTelemetry, prometheus: PrometheusDouble
) -> None:
    prometheus.status = 503
    assert isinstance(telemetry.counts(CANCER), NoData)
    unreachable = IstioTelemetry(
        Prometheus("http://127.0.0.1:9"), telemetry.routes, telemetry.counters, Names(), lambda: NOW
    )
    assert isinstance(unreachable.counts(CANCER), NoData)
    telemetry.routes.down = True  # type: ignore[attr-defined]
    assert telemetry.counts(CANCER) == NoData("no proxy answers")
    telemetry.routes.down, telemetry.routes.route = False, None  # type: ignore[attr-defined]
    assert isinstance(telemetry.counts(CANCER), NoData)


def test_case_16_an_empty_result_is_insufficient_and_a_second_series_a_configuration_error(
    telemetry: IstioTelemetry, prometheus: PrometheusDouble
) -> None:
    assert telemetry.counts(CANCER) == {A: ServiceCounts(0, 0)}, "no challenger: nothing is compared with it"
    prometheus.count(B, 10)
    prometheus.series.append(prometheus.series[0])
    with pytest.raises(ValueError, match="two series"):
        telemetry.counts(CANCER)
    prometheus.document = {"status": "error", "error": "parse error"}
    with pytest.raises(ValueError, match="parse error"):
        telemetry.counts(CANCER)


def test_case_17_not_a_number_is_never_counted(telemetry: IstioTelemetry, prometheus: PrometheusDouble) -> None:
    prometheus.count(A, 10)
    prometheus.count(B, float("nan"))
    prometheus.count(B, float("inf"), pod="g2")
    assert telemetry.counts(CANCER) == {A: ServiceCounts(10, 0)}


def test_case_23_stale_samples_are_no_data(telemetry: IstioTelemetry, prometheus: PrometheusDouble) -> None:
    prometheus.count(A, 10)
    prometheus.series[0]["values"] = [[NOW - 90, "10"]]
    found = telemetry.counts(CANCER)
    assert isinstance(found, NoData)
    assert "90 s old" in found.reason
    prometheus.count(A, 10)
    telemetry.counts(CANCER)
    prometheus.series = []
    assert isinstance(telemetry.counts(CANCER), NoData), "there were requests, so there must be samples"
