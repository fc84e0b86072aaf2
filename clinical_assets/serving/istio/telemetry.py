"""Request counters from Prometheus (`istio_requests_total`), attributed to the model that was tried."""

from __future__ import annotations

import hashlib
import http.client
import json
import math
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from clinical_assets.rollout.routing import NoData, RouteState, RoutingError, ServiceCounts
from clinical_assets.serving.istio.counters import CounterStore
from clinical_assets.serving.kubernetes.names import Names, workload

FRESH_S = 60.0
"""Older samples are no news: the scrape of the gateway has failed at least twice."""

KINDS = ANSWERED, ERRORS = "answered", "errors"
UPTO = "<="


class Routes(Protocol):
    """The part of a router that telemetry asks: a variant without weight is counted on its copies."""

    def read(self, cancer: str) -> RouteState | None: ...


@dataclass(frozen=True)
class Prometheus:
    """The HTTP API of one server. `token`: bearer token, "" for none."""

    url: str
    token: str = ""
    timeout: float = 5.0

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query.

        Raises:
            OSError: no answer, or not 200. ValueError: the answer is not that of Prometheus.
        """
        address = f"{self.url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
        request = urllib.request.Request(address)
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:
                document = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise OSError(f"Prometheus answers {error.code}") from error
        except http.client.HTTPException as error:
            raise OSError(f"Prometheus does not answer ({type(error).__name__})") from error
        if document.get("status") != "success" or "result" not in document.get("data", {}):
            raise ValueError(f"{self.url} does not answer like Prometheus: {document.get('error', 'no result')}")
        return document["data"]["result"]


@dataclass(frozen=True)
class IstioTelemetry:
    """Implements `Telemetry`.

    Patients' requests are counted by the gateway (`reporter="source"`), which also sees connections that failed.
    Mirrored copies are counted by the challenger's own proxy (`reporter="destination"`): the gateway reports none.

    Attributes:
        timed: whether answer times are wanted for a cancer type; they are many more series.
    """

    prometheus: Prometheus
    routes: Routes
    counters: CounterStore
    names: Names
    wall: Callable[[], float] = time.time
    timed: Callable[[str], bool] = lambda cancer: True

    def counts(self, cancer: str) -> dict[str, ServiceCounts] | NoData:
        """
        Raises:
            ValueError: the answer is not that of Prometheus, or holds two series where one is expected.
        """
        try:
            route = self.routes.read(cancer)
            if route is None:
                return NoData(f"{cancer}: the gateway has no route for it")
            series = self.prometheus.query(self._expression(route))
            buckets = self.prometheus.query(self._buckets(route)) if self.timed(cancer) else []
        except (OSError, RoutingError) as error:
            return NoData(str(error))
        digests = {workload(cancer, digest): digest for digest in route.weights}
        seen: dict[str, tuple[str, str, float]] = {}
        newest = -math.inf
        for entry in series:
            labels = entry["metric"]
            at, value = float(entry["values"][-1][0]), float(entry["values"][-1][1])
            digest = digests.get(labels.get("destination_workload", ""))
            if digest is None or labels.get("reporter") != _reporter(route, digest) or not math.isfinite(value):
                continue
            key = _key(labels)
            if key in seen:
                raise ValueError(f"{cancer}: two series of istio_requests_total for {labels}")
            newest = max(newest, at)
            kind = ERRORS if _failed(labels.get("response_code", "")) else ANSWERED
            seen[key] = (digest, f"{kind} seen by {_reporter(route, digest)}", value)
        if seen and self.wall() - newest > FRESH_S:
            return NoData(f"{cancer}: Prometheus' latest sample is {self.wall() - newest:.0f} s old")
        times, together = _times(route, digests, buckets)
        totals = self.counters.total(cancer, seen | times, together)
        if totals and not seen:
            return NoData(f"{cancer}: Prometheus has no sample of the last two minutes, although there were requests")
        counted = {digest for digest, _ in totals} & set(digests.values())
        return {digest: _counts(totals, route, digest) for digest in counted | {route.champion}}

    def _expression(self, route: RouteState) -> str:
        """Raw samples of the last two minutes, so that their own times are seen."""
        return f"istio_requests_total{self._ours(route)}[2m]"

    def _buckets(self, route: RouteState) -> str:
        """One cumulative histogram for every process that counts; its answers begin anew together."""
        counted = f"istio_request_duration_milliseconds_bucket{self._ours(route)}"
        return f"sum without (response_code, response_flags, grpc_response_status) ({counted})"

    def _ours(self, route: RouteState) -> str:
        workloads = "|".join(workload(route.cancer, digest) for digest in route.weights)
        namespace = self.names.namespace
        return f'{{destination_workload_namespace="{namespace}",destination_workload=~"{workloads}"}}'


def _times(
    route: RouteState, digests: dict[str, str], buckets: list[dict[str, Any]]
) -> tuple[dict[str, tuple[str, str, float]], dict[str, str]]:
    """Histogram counters by series, and the process that counts each.

    Raises:
        ValueError: two series for one bucket of one process.
    """
    seen: dict[str, tuple[str, str, float]] = {}
    together: dict[str, str] = {}
    for entry in buckets:
        labels, value = entry["metric"], float(entry["value"][1])
        digest = digests.get(labels.get("destination_workload", ""))
        if digest is None or labels.get("reporter") != _reporter(route, digest) or not math.isfinite(value):
            continue
        key = _key({"": "bucket", **labels})
        if key in seen:
            raise ValueError(f"{route.cancer}: two series of istio_request_duration_milliseconds_bucket for {labels}")
        seen[key] = (digest, f"{UPTO}{float(labels['le']):g} seen by {_reporter(route, digest)}", value)
        together[key] = _key({name: text for name, text in labels.items() if name != "le"})
    return seen, together


def _reporter(route: RouteState, digest: str) -> str:
    return "destination" if digest == route.challenger and route.weight == 0 else "source"


def _failed(code: str) -> bool:
    """5xx; 0 is a request without any answer (timeout, reset, no connection). Never 4xx."""
    return code == "0" or (len(code) == 3 and code.startswith("5"))


def _key(labels: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(labels, sort_keys=True).encode()).hexdigest()


def _counts(totals: dict[tuple[str, str], int], route: RouteState, digest: str) -> ServiceCounts:
    answered, errors = (totals.get((digest, f"{kind} seen by {_reporter(route, digest)}"), 0) for kind in KINDS)
    latency = []
    for (of, kind), count in totals.items():
        bound, _, reporter = kind.removeprefix(UPTO).partition(" seen by ")
        if of == digest and kind.startswith(UPTO) and reporter == _reporter(route, digest):
            latency.append((float(bound), count))
    return ServiceCounts(answered + errors, errors, tuple(sorted(latency)))
