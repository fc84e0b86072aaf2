"""One inference request, from headers and body to a recorded answer. Knows nothing of HTTP servers."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from clinical_assets.foundation.clock import Clock
from clinical_assets.rollout.entries import Arm, Prediction, PredictionStatus
from clinical_assets.serving import arms
from clinical_assets.serving.input_validation import InvalidInput, parse_json, rows_of
from clinical_assets.serving.loaded_models import LoadedModel, LoadedModels
from clinical_assets.serving.prediction_log import PredictionLog
from clinical_assets.serving.pseudonym import PSEUDONYM
from clinical_assets.serving.told_groups import groups_told

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,100}")


class ModelAbsent(RuntimeError):
    """Neither the assigned model nor one that may stand in for it is loaded here; Envoy tries the next server."""


class InvalidOutput(RuntimeError):
    """The model gave something that is no risk. It is recorded as invalid and not given out."""


@dataclass(frozen=True)
class Answer:
    """`body` is an OIP v2 response; `None` for a mirrored copy of what this model answers anyway."""

    model: LoadedModel | None
    arm: str
    request_id: str
    body: dict[str, Any] | None
    risks: tuple[float, ...] = ()


async def answer(
    cancer: str, headers: Mapping[str, str], body: bytes, models: LoadedModels, log: PredictionLog, clock: Clock
) -> Answer:
    """Score and record. The record is durable before this returns.

    Raises:
        NoRoute, InvalidInput, ModelAbsent: nothing was scored.
        InvalidOutput: recorded as invalid.
        LogUnavailable, RequestIdTaken: nothing may be given out.
    """
    assignment = arms.resolve(headers)
    request_id, patient = _identifiers(headers)
    if assignment is None:
        return Answer(None, "", request_id, None)
    model, assignment, fallback = _model_for(cancer, assignment, models)
    rows = rows_of(parse_json(body), model.scorer.card)
    risks = [float(risk) for risk in model.scorer.risk(rows)]
    now = clock.now()
    entries = []
    for index, (row, risk) in enumerate(zip(rows, risks, strict=False)):
        valid = math.isfinite(risk) and 0.0 <= risk <= 1.0
        entries.append(
            Prediction(
                request_id=request_id if len(risks) == 1 else f"{request_id}/{index}",
                digest=model.digest,
                cancer=cancer,
                rollout_id=assignment.rollout_id or None,
                patient=patient,
                arm=Arm(assignment.arm),
                propensity=assignment.propensity,
                risk=risk if valid else None,
                predicted_at=now,
                status=PredictionStatus.OK if valid else PredictionStatus.INVALID,
                groups=groups_told(row, model.scorer.card) if assignment.rollout_id else (),
            )
        )
    await log.append(entries)
    if len(rows) != len(risks) or any(entry.status is PredictionStatus.INVALID for entry in entries):
        raise InvalidOutput(f"model {model.digest[:12]} gave a value that is not a risk between 0 and 1")
    told = _response(model, assignment.arm, request_id, risks, fallback)
    return Answer(model, assignment.arm, request_id, told, tuple(risks))


def _identifiers(headers: Mapping[str, str]) -> tuple[str, str]:
    request_id = headers.get(arms.REQUEST) or secrets.token_hex(16)
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidInput(f"header {arms.REQUEST} must be 1 to 100 letters, digits or . _ : -", 400)
    patient = headers.get(arms.PATIENT, "")
    if not PSEUDONYM.fullmatch(patient):
        raise InvalidInput(
            f"header {arms.PATIENT} must be the patient's keyed pseudonym (32 to 64 hexadecimal digits), never an "
            "identifier from the clinic",
            400,
        )
    return request_id, patient


def _model_for(
    cancer: str, assignment: arms.Assignment, models: LoadedModels
) -> tuple[LoadedModel, arms.Assignment, bool]:
    """The assigned model; for the challenger's patients, when only the champion is here, the champion.

    Such a stand-in answer belongs to no rollout: its arm was not drawn at random.
    """
    if model := models.get(cancer, assignment.digest):
        return model, assignment, False
    if assignment.fallback and (model := models.get(cancer, assignment.fallback)):
        return model, replace(assignment, arm="champion", rollout_id=""), True
    state, reason = models.state(cancer, assignment.digest)
    raise ModelAbsent(f"{cancer}: model {assignment.digest[:12]} is {state} in slot {models.slot}: {reason}")


def _response(model: LoadedModel, arm: str, request_id: str, risks: list[float], fallback: bool) -> dict[str, Any]:
    parameters: dict[str, Any] = {"arm": arm, "request_id": request_id, **model.evidence}
    if fallback:
        parameters["fallback"] = True
    return {
        "model_name": model.cancer,
        "model_version": model.digest,
        "id": request_id,
        "parameters": parameters,
        "outputs": [{"name": "risk", "datatype": "FP64", "shape": [len(risks)], "data": risks}],
    }
