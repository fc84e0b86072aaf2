"""The HTTP face of a model server: Open Inference Protocol v2, outcomes, and Prometheus metrics.

https://github.com/kserve/open-inference-protocol (REST). A model's name is the cancer type, its version the digest.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from clinical_assets.foundation.clock import Clock
from clinical_assets.foundation.logs import FACTS
from clinical_assets.rollout.entries import OutcomeConflict, UnknownRequest
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.serving.answers import InvalidOutput, ModelAbsent, answer
from clinical_assets.serving.arms import NoRoute
from clinical_assets.serving.input_validation import MAX_BODY_BYTES, InvalidInput
from clinical_assets.serving.loaded_models import LoadedModels
from clinical_assets.serving.metrics import SHORT, ServerMetrics
from clinical_assets.serving.posted_outcomes import outcomes_of
from clinical_assets.serving.prediction_log import LogUnavailable, PredictionLog, RequestIdTaken
from clinical_assets.serving.tracing import Spans

_VERSION = version("clinical-assets")
_DATATYPES = {"number": "FP64", "integer": "INT64", "boolean": "BOOL", "category": "BYTES"}
_STATUS = {NoRoute: 421, RequestIdTaken: 409, ModelAbsent: 503, LogUnavailable: 503, InvalidOutput: 500}
"""421 Misdirected Request: the gateway was bypassed. 503 is what Envoy retries."""
logger = logging.getLogger(__name__)


def create_app(models: LoadedModels, ledger: Ledger, clock: Clock) -> FastAPI:
    metrics = ServerMetrics()
    log = PredictionLog(ledger, metrics.group.observe)
    spans = Spans.from_env()

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        log.start()
        await run_in_threadpool(models.start)
        yield
        await run_in_threadpool(models.stop)
        await run_in_threadpool(log.stop)
        if spans:
            await run_in_threadpool(spans.stop)

    app = FastAPI(title="Clinical model server", version=_VERSION, docs_url=None, redoc_url=None, lifespan=running)
    _add_health(app, models, metrics)

    @app.post("/v2/models/{cancer}/infer")
    async def infer(cancer: str, request: Request) -> Response:
        started = time.perf_counter()
        digest, arm = "", ""
        try:
            body = await _body(request)
            given = await answer(cancer, request.headers, body, models, log, clock)
            arm = given.arm
            if given.model is None:
                response = Response(status_code=204)
            else:
                digest = given.model.digest
                headers = {"x-model-digest": digest, "x-arm": arm, "x-request-id": given.request_id}
                response = JSONResponse(given.body, headers=headers)
                metrics.scored(cancer, digest, arm, given.risks)
        except InvalidInput as error:
            response = _refusal(error.status, error)
        except tuple(_STATUS) as error:
            response = _refusal(_STATUS[type(error)], error)
        known, seconds = cancer if models.of(cancer) else "", time.perf_counter() - started
        metrics.requests.labels(known, digest[:SHORT], arm, response.status_code).inc()
        if response.status_code == 200:
            metrics.seconds.labels(cancer).observe(seconds)
        _note(request.headers, spans, known, arm, digest, response.status_code, seconds)
        return response

    @app.post("/v2/models/{cancer}/outcomes")
    async def outcomes(cancer: str, request: Request) -> Response:
        model = models.of(cancer)
        try:
            posted = outcomes_of(cancer, model.scorer.card.kind if model else None, await _body(request), clock.now())
            recorded = await run_in_threadpool(ledger.record_outcomes, posted)
        except InvalidInput as error:
            return _refusal(error.status, error)
        except UnknownRequest as error:
            return _refusal(404, error)
        except OutcomeConflict as error:
            return _refusal(409, error)
        return JSONResponse({"stored": recorded.stored, "repeated": recorded.repeated})

    return app


def _add_health(app: FastAPI, models: LoadedModels, metrics: ServerMetrics) -> None:
    @app.get("/v2")
    async def server() -> dict[str, Any]:
        return {"name": f"clinical-{models.slot}", "version": _VERSION, "extensions": ["outcomes"]}

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        report = models.report()
        all_ready = all(entry["state"] == "ready" for entry in report.values())
        return JSONResponse({"ready": all_ready, "models": report}, 200 if all_ready else 503)

    @app.get("/v2/models/{cancer}")
    async def model(cancer: str) -> Response:
        held = models.of(cancer)
        if held is None:
            return _refusal(404, f"{cancer}: no model in slot {models.slot}")
        card = held.scorer.card
        inputs = [
            {
                "name": feature.name,
                "datatype": _DATATYPES[feature.dtype],
                "shape": [-1],
                "parameters": feature.model_dump(mode="json", exclude={"name", "sensitive"}, exclude_none=True),
            }
            for feature in card.features
        ]
        outputs = [{"name": "risk", "datatype": "FP64", "shape": [-1], "parameters": {"horizon_days": card.horizon}}]
        document = {"name": cancer, "versions": [held.digest], "platform": f"clinical-{card.family}"}
        return JSONResponse({**document, "inputs": inputs, "outputs": outputs})

    @app.get("/v2/models/{cancer}/ready")
    async def model_ready(cancer: str) -> Response:
        held = models.of(cancer)
        return JSONResponse({"name": cancer, "ready": held is not None}, 200 if held else 503)

    @app.get("/v2/models/{cancer}/versions/{digest}/ready")
    async def version_ready(cancer: str, digest: str) -> Response:
        state, reason = models.state(cancer, digest)
        document = {"name": cancer, "ready": state == "ready", "state": state, "reason": reason}
        return JSONResponse(document, 200 if state == "ready" else 503)

    @app.get("/metrics")
    async def prometheus() -> Response:
        metrics.models.clear()
        for cancer, entry in models.report().items():
            metrics.models.labels(cancer, entry["digest"][:SHORT]).set(entry["state"] == "ready")
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _note(
    headers: Mapping[str, str], spans: Spans | None, cancer: str, arm: str, digest: str, code: int, seconds: float
) -> None:
    """One line in the log, and one span: which model answered how, never for whom or to what."""
    level = logging.WARNING if code >= 500 else logging.INFO
    if logger.isEnabledFor(level):
        facts = {"cancer": cancer, "arm": arm, "digest": digest[:SHORT], "code": code, "ms": round(1000 * seconds, 3)}
        logger.log(level, "inference", extra={FACTS: facts})
    if spans:
        told = {"clinical.cancer": cancer, "clinical.arm": arm, "clinical.digest": digest[:SHORT]}
        spans.record(headers, seconds, {**told, "http.response.status_code": code})


def _refusal(status: int, reason: object) -> Response:
    return JSONResponse({"error": str(reason)}, status)


async def _body(request: Request) -> bytes:
    """
    Raises:
        InvalidInput: longer than `MAX_BODY_BYTES`; the rest is not read.
    """
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise InvalidInput(f"the body is larger than {MAX_BODY_BYTES} bytes", 413)
        parts.append(part)
    return b"".join(parts)
