"""What callers post when a patient's outcome is known."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clinical_assets.rollout.entries import Outcome
from clinical_assets.serving.input_validation import InvalidInput, parse_json


class _PostedOutcome(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: str = Field(min_length=1, max_length=128)
    time: float | None = Field(None, ge=0, allow_inf_nan=False)
    event: Literal[0, 1] | None = None
    label: Literal[0, 1] | None = None
    observed_at: float | None = Field(None, allow_inf_nan=False)


class _Posted(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    outcomes: list[_PostedOutcome] = Field(min_length=1, max_length=1000)


def outcomes_of(cancer: str, kind: str | None, body: bytes, now: float) -> list[Outcome]:
    """Outcomes in `{"outcomes": [{"request_id", "time" (days), "event"} or {"request_id", "label"}, ...]}`.

    Args:
        kind: survival or binary, where it is known.
        now: clinical time, used where `observed_at` is not given.

    Raises:
        InvalidInput: the reason names field and rule, not the value.
    """
    try:
        posted = _Posted.model_validate(parse_json(body))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_input=False)]
        raise InvalidInput("; ".join(faults[:5])) from error
    outcomes = []
    for item in posted.outcomes:
        observed_at = now if item.observed_at is None else item.observed_at
        if (kind == "survival" and item.time is None) or (kind == "binary" and item.label is None):
            needed = "time (days) and event" if kind == "survival" else "label"
            raise InvalidInput(f"request {item.request_id}: an outcome of {cancer} is {needed}")
        try:
            outcomes.append(Outcome(item.request_id, cancer, observed_at, item.time, item.event, item.label))
        except ValueError as error:
            raise InvalidInput(f"request {item.request_id}: {error}") from error
    return outcomes
