"""Trainings that were run again, and what came of them: entries of the audit log, one for each repetition."""

from __future__ import annotations

from dataclasses import asdict

from clinical_assets.audit.log import AuditLog
from clinical_assets.gates.facts import Reproduction

REPRODUCE = "reproduce_training"


def record_reproduction(log: AuditLog, cancer: str, model_digest: str, made: Reproduction) -> None:
    payload = {
        "cancer": cancer,
        **asdict(made),
        "old": made.prediction_digest,
        "new": made.reproduced_digest,
        "reason": "the training was repeated from the same data, code, settings and seed",
    }
    log.append(made.actor, REPRODUCE, model_digest, payload, made.performed_utc)


def latest_reproduction(log: AuditLog, model_digest: str) -> Reproduction | None:
    entries = log.entries(model_digest, REPRODUCE)
    if not entries:
        return None
    payload = entries[-1].payload
    return Reproduction(**{name: payload[name] for name in Reproduction.__dataclass_fields__})
