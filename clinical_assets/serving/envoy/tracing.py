"""The gateway's part of a trace: what Envoy is told so that its spans join those of the model servers.

Envoy 1.40 puts request id, address, user agent and URL of the caller on every span; all of them are overwritten, and
what a caller may smuggle along (`tracestate`, `baggage`) is taken off. A caller's request id is never changed: it is
the key of the prediction log.
"""

from __future__ import annotations

import os
from typing import Any

from clinical_assets.serving.tracing import TRACES_PATH, TracingError, endpoint

TYPES = "type.googleapis.com/envoy."
CLUSTER = "otlp"
RATIO = "OTEL_TRACES_SAMPLER_ARG"
WITHHELD = ("guid:x-request-id", "http.url", "user_agent", "peer.address", "downstream_cluster")


def connection_manager() -> dict[str, Any]:
    """Fields of the connection manager; none when tracing is off.

    Raises:
        TracingError: `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_TRACES_SAMPLER_ARG` makes no sense.
    """
    at = endpoint()
    if at is None:
        return {}
    collector = {"uri": f"http://{at[0]}:{at[1]}{TRACES_PATH}", "cluster": CLUSTER, "timeout": "1s"}
    provider = {
        "@type": f"{TYPES}config.trace.v3.OpenTelemetryConfig",
        "http_service": {"http_uri": collector},
        "service_name": "clinical-gateway",
        "sampler": _sampler(),
    }
    return {
        "tracing": {
            "provider": {"name": "envoy.tracers.opentelemetry", "typed_config": provider},
            "custom_tags": [{"tag": name, "literal": {"value": "withheld"}} for name in WITHHELD],
        },
        "request_id_extension": {
            "typed_config": {
                "@type": f"{TYPES}extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
                "use_request_id_for_trace_sampling": False,
            }
        },
        "early_header_mutation_extensions": [
            {
                "name": "envoy.http.early_header_mutation.header_mutation",
                "typed_config": {
                    "@type": f"{TYPES}extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
                    "mutations": [{"remove": name} for name in ("tracestate", "baggage")],
                },
            }
        ],
    }


def clusters() -> list[dict[str, Any]]:
    """The collector as an upstream; none when tracing is off. Raises as `connection_manager`."""
    at = endpoint()
    if at is None:
        return []
    address = {"socket_address": {"address": at[0], "port_value": at[1]}}
    return [
        {
            "name": CLUSTER,
            "type": "STRICT_DNS",
            "connect_timeout": "0.5s",
            "load_assignment": {
                "cluster_name": CLUSTER,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
        }
    ]


def _sampler() -> dict[str, Any]:
    """The share of traces that is kept, unless the caller has decided; whole trace or nothing."""
    text = os.environ.get(RATIO, "1")
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise TracingError(f"{RATIO}={text!r}; set it to the share of the traces to keep, between 0 and 1")
    kinds = f"{TYPES}extensions.tracers.opentelemetry.samplers.v3."
    share = {
        "name": "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        "typed_config": {
            "@type": f"{kinds}TraceIdRatioBasedSamplerConfig",
            "sampling_percentage": {"numerator": round(ratio * 1_000_000), "denominator": "MILLION"},
        },
    }
    return {
        "name": "envoy.tracers.opentelemetry.samplers.parent_based",
        "typed_config": {"@type": f"{kinds}ParentBasedSamplerConfig", "wrapped_sampler": share},
    }
