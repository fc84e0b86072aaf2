"""Prometheus metrics of one model server, in a registry of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_STEPS = 20
_RISKS = tuple(step / _STEPS for step in range(1, _STEPS + 1))
SHORT = 12
"""Digits of a digest in a label."""


class ServerMetrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "clinical_inference_requests",
            "Inference requests by model, arm and status code; digest and arm are empty when none answered",
            ["cancer", "digest", "arm", "code"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "clinical_inference_seconds",
            "Time from the complete request to the durable answer",
            ["cancer"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.scores = Histogram(
            "clinical_risk_score",
            "Risks given out or scored in shadow, by model and arm, each as the middle of its twentieth",
            ["cancer", "digest", "arm"],
            buckets=_RISKS,
            registry=self.registry,
        )
        self.group = Histogram(
            "clinical_prediction_log_group_size",
            "Predictions in one commit of the prediction log",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=self.registry,
        )
        self.models = Gauge(
            "clinical_model_ready", "1 if the desired model is served", ["cancer", "digest"], registry=self.registry
        )

    def scored(self, cancer: str, digest: str, arm: str, risks: Sequence[float]) -> None:
        """Count risks in [0, 1] by their twentieth; the sum of a lone patient's scores must not tell the score."""
        observe = self.scores.labels(cancer, digest[:SHORT], arm).observe
        for risk in risks:
            observe((max(0, math.ceil(risk * _STEPS) - 1) + 0.5) / _STEPS)
