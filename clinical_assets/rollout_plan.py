"""The design of a rollout, from what is known before its first patient: locked test split, training data, telemetry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from clinical_assets.catalog import CancerType
from clinical_assets.references import ModelReference
from clinical_assets.rollout.evidence.drift import score_reference
from clinical_assets.rollout.evidence.hazard import hazard_shape
from clinical_assets.rollout.evidence.latency import slow_rates
from clinical_assets.rollout.evidence.maturity import censoring_curve
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.routing import NoData, RoutingError, ServiceCounts, Telemetry
from clinical_assets.training_data import open_training_data
from clinical_assets.trials.groups import NOT_REPORTED, group_labels
from resources.object_store import ObjectStore

REFERENCE_REQUESTS = 1000
"""Requests of the champion below which its error rate and latencies are no reference."""


def plan_of(
    cancer: CancerType,
    model: ModelReference,
    champion: str,
    object_store: ObjectStore,
    telemetry: Telemetry,
    previous: str = "",
) -> RolloutPlan:
    """What the rollout may spend and must show, fixed before the first patient.

    Args:
        previous: the model that the champion replaced, "" if none.
    """
    data = open_training_data(cancer, model.features, object_store)
    endpoint = cancer.contract.endpoint
    facts: dict[str, Any] = {}
    if endpoint.horizon_days is not None:
        times, events = data.train["time"].tolist(), data.train["event"].tolist()
        facts["censoring"] = censoring_curve(times, events, endpoint.horizon_days)
        facts["hazard_shape"] = hazard_shape(times, events, endpoint.horizon_days)
    if champion:
        facts |= _comparison(cancer, data.test, champion, model.digest, object_store)
        facts |= _service(telemetry, cancer, champion)
    else:
        facts["challenger_scores"] = score_reference(_risks(cancer, data.test, model.digest, object_store))
    return RolloutPlan(
        cancer=cancer.slug,
        challenger=model.digest,
        champion=champion,
        previous=previous,
        policy=cancer.rollout,
        risk_class=cancer.risk_class,
        data_status=cancer.source.data_status,
        horizon_days=endpoint.horizon_days,
        threshold=endpoint.decision_threshold,
        groups=groups_of(cancer),
        **facts,
    )


def _comparison(
    cancer: CancerType, test: pd.DataFrame, champion: str, challenger: str, object_store: ObjectStore
) -> dict[str, Any]:
    """Both models on the locked test split: unit of the margin, and their distributions of scores."""
    from clinical_assets.modeling.metrics.prediction_error import brier
    from clinical_assets.modeling.outcomes import Outcomes

    endpoint = cancer.contract.endpoint
    a, b = (_risks(cancer, test, digest, object_store) for digest in (champion, challenger))
    return {
        "champion_brier": brier(Outcomes.from_frame(test, endpoint), a, endpoint.horizon_days),
        "champion_scores": score_reference(a),
        "challenger_scores": score_reference(b),
        "squared_gap": float(np.mean(4 * (b - a) ** 2 * a * (1 - a))),
    }


def _risks(cancer: CancerType, test: pd.DataFrame, digest: str, object_store: ObjectStore) -> np.ndarray:
    """(n,) risks of a model on the locked test split."""
    from clinical_assets import evaluation
    from clinical_assets.modeling.artifact import load_model

    return evaluation.predict(load_model(object_store.model(digest), digest), test, cancer.contract).risk


def groups_of(cancer: CancerType) -> tuple[str, ...]:
    """Groups that a request itself tells: the sensitive features with categories."""
    told = [c for c in cancer.contract.sensitive if c.role == "feature" and not c.measured]
    labels = ((c.name, label) for c in told for label in (*group_labels(c, cancer.contract), NOT_REPORTED))
    return tuple(f"{name}={label}" for name, label in labels)


def _service(telemetry: Telemetry, cancer: CancerType, champion: str) -> dict[str, Any]:
    """The champion's error rate and latencies so far; nothing where telemetry is silent or has seen too little."""
    try:
        counts = telemetry.counts(cancer.slug)
    except (OSError, ValueError, RoutingError):
        return {}
    seen = ServiceCounts(0, 0) if isinstance(counts, NoData) else counts.get(champion, ServiceCounts(0, 0))
    if seen.requests < REFERENCE_REQUESTS:
        return {}
    limits = slow_rates(seen.latency) if cancer.rollout.latency_guardrail else ()
    return {"champion_error_rate": seen.errors / seen.requests, "latency": limits}
