"""Spans of a model server, joined to the gateway's by W3C trace context; off unless an OTLP endpoint is named.

`OTEL_EXPORTER_OTLP_ENDPOINT` turns tracing on, here and in Envoy (`envoy/bootstrap.py`). Needs the extra `otel`.
https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACES_PATH = "/v1/traces"
TRACEPARENT = "traceparent"
_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
SERVICE = "clinical-model-server"


class TracingError(ValueError):
    """Tracing was asked for and cannot be done; the message holds the remedy."""


def endpoint() -> tuple[str, int] | None:
    """Host and port of the OTLP/HTTP collector, `None` when tracing is off.

    Raises:
        TracingError: not an http:// address.
    """
    address = os.environ.get(ENDPOINT, "")
    if not address:
        return None
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname:
        raise TracingError(f"{ENDPOINT}={address!r}; name an OTLP/HTTP collector beside the servers, http://HOST:4318")
    return parts.hostname, parts.port or 4318


class Spans:
    """Ends one span for each request that belongs to a sampled trace; sends them from a thread of its own."""

    def __init__(self) -> None:
        """
        Raises:
            TracingError: the exporter is not installed.
        """
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise TracingError(f"{ENDPOINT} is set: install the extra, pip install 'clinical-assets[otel]'") from error
        self._provider = TracerProvider(resource=Resource({"service.name": SERVICE}), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=1000))
        self._tracer = self._provider.get_tracer(__name__)

    @classmethod
    def from_env(cls) -> Spans | None:
        return cls() if endpoint() else None

    def record(self, headers: Mapping[str, str], seconds: float, facts: Mapping[str, Any]) -> None:
        """
        Args:
            headers: of the request; only `traceparent` is read. A request without one, or not sampled, gives no span.
            seconds: how long it took until now.
            facts: attributes; never a patient, a request id or a feature.
        """
        given = _PARENT.fullmatch(headers.get(TRACEPARENT, ""))
        if given is None or not int(given[3], 16) & 1:
            return
        from opentelemetry import trace

        parent = trace.SpanContext(
            int(given[1], 16), int(given[2], 16), True, trace.TraceFlags(trace.TraceFlags.SAMPLED)
        )
        if not parent.is_valid:
            return
        ended = time.time_ns()
        context = trace.set_span_in_context(trace.NonRecordingSpan(parent))
        span = self._tracer.start_span(
            f"infer {facts['clinical.cancer']}",
            context,
            trace.SpanKind.SERVER,
            dict(facts),
            start_time=ended - int(seconds * 1e9),
        )
        if facts["http.response.status_code"] >= 500:
            span.set_status(trace.StatusCode.ERROR)
        span.end(ended)

    def stop(self) -> None:
        """Send what is waiting."""
        self._provider.shutdown()
