"""A small client of the gateway, for the demonstration, the tests, and as an example for integrators."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from clinical_assets.serving import arms
from clinical_assets.serving.ports import LOOPBACK


class GatewayError(RuntimeError):
    """The gateway refused or failed; `status` is the HTTP status and the message the reason given."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status


@dataclass(frozen=True)
class Inference:
    """`arm` and `digest` say which model answered; `fallback` that it stood in for the challenger."""

    risk: float
    digest: str
    arm: str
    request_id: str
    evidence: str
    fallback: bool


class GatewayClient:
    """Thread-safe; keeps connections open."""

    def __init__(self, port: int, timeout: float = 15.0) -> None:
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self._http = httpx.Client(base_url=f"http://{LOOPBACK}:{port}", timeout=timeout, limits=limits, trust_env=False)

    def infer(
        self,
        cancer: str,
        row: Mapping[str, Any],
        patient: str,
        request_id: str | None = None,
        variant: str | None = None,
    ) -> Inference:
        """Risk of one patient.

        Args:
            row: feature values by name; `None` and NaN are missing values.
            patient: keyed pseudonym (`serving.pseudonym.Pseudonymiser`).
            variant: "champion" or "challenger", honoured only where the route allows pins.

        Raises:
            GatewayError: any status other than 200.
        """
        headers = {arms.PATIENT: patient}
        if request_id is not None:
            headers[arms.REQUEST] = request_id
        if variant is not None:
            headers[arms.VARIANT] = variant
        document = self._post(f"/v2/models/{cancer}/infer", {"inputs": tensors([row])}, headers)
        parameters = document["parameters"]
        return Inference(
            risk=document["outputs"][0]["data"][0],
            digest=document["model_version"],
            arm=parameters["arm"],
            request_id=parameters["request_id"],
            evidence=parameters["evidence"],
            fallback=parameters.get("fallback", False),
        )

    def post_outcomes(self, cancer: str, outcomes: list[dict[str, Any]]) -> dict[str, int]:
        """Each `{"request_id", "time" (days), "event"}` or `{"request_id", "label"}`, with `observed_at` if not now.

        Raises:
            GatewayError: any status other than 200; nothing of the list was stored.
        """
        return self._post(f"/v2/models/{cancer}/outcomes", {"outcomes": outcomes}, {})

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _post(self, path: str, document: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        try:
            answer = self._http.post(path, json=document, headers=headers)
        except httpx.HTTPError as error:
            raise GatewayError(0, f"no answer from the gateway ({type(error).__name__})") from error
        if answer.status_code != 200:
            try:
                reason = answer.json()["error"]
            except (ValueError, KeyError, TypeError):
                reason = answer.text[:200]
            raise GatewayError(answer.status_code, reason)
        return answer.json()


def tensors(rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Open Inference Protocol tensors, one per column, from rows with the same names."""
    columns = {name: [_plain(row[name]) for row in rows] for name in rows[0]}
    return [
        {"name": name, "shape": [len(data)], "datatype": _datatype(data), "data": data}
        for name, data in columns.items()
    ]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def _datatype(data: list[Any]) -> str:
    known = [value for value in data if value is not None]
    if any(isinstance(value, str) for value in known):
        return "BYTES"
    return "BOOL" if known and all(isinstance(value, bool) for value in known) else "FP64"
