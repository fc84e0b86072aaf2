"""`model.json`: what a model is, what it accepts, and rows with known answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from clinical_assets.modeling.determinism import single_thread
from clinical_assets.modeling.encoder import Encoder
from clinical_assets.modeling.options import Family
from clinical_assets.modeling.outcomes import Kind
from clinical_assets.modeling.predictor_format import dismantle

if TYPE_CHECKING:
    from clinical_assets.modeling.model import FamilyModel
    from clinical_assets.trials.contract import CohortContract

GOLDEN_ROWS = 20
SCHEMA_VERSION = 2


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FeatureCard(_Part):
    """One input as the contract declares it; a request outside it is refused."""

    name: str
    dtype: str
    unit: str | None
    plausible_range: tuple[float, float] | None
    categories: tuple[str, ...] | None
    max_missing: float
    sensitive: bool
    description: str


class GoldenRow(_Part):
    """Synthetic inputs, each column drawn on its own from its training distribution: no patient's row."""

    row: dict[str, float | str | None]
    risk: float


class RecalibrationCard(_Part):
    link: Literal["cloglog", "logit"]
    intercept: float
    slope: float


class ModelCard(_Part):
    """Content of `model.json`. `features` are in model order; `encoder` rebuilds the encoding exactly; `predictor`
    names the parts whose tensors the weights file holds."""

    schema_version: Literal[2] = SCHEMA_VERSION
    cancer: str
    family: Family
    name: str
    kind: Kind
    endpoint: str
    horizon: float | None
    decision_threshold: float
    contract_sha256: str
    seed: int
    features: tuple[FeatureCard, ...]
    recalibration: RecalibrationCard
    encoder: dict[str, Any]
    predictor: dict[str, Any]
    golden: tuple[GoldenRow, ...]
    provenance: dict[str, Any]

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)


def describe(model: FamilyModel, contract: CohortContract, cancer: str, provenance: dict[str, Any]) -> ModelCard:
    """The card of a fitted model.

    Raises:
        ValueError: the contract's features or horizon are not the model's.
    """
    horizon = contract.endpoint.horizon_days
    names = tuple(column.name for column in contract.features)
    if names != tuple(feature.name for feature in model.features):
        raise ValueError(f"{model.name} was fitted on other features than the contract's {', '.join(names)}")
    if horizon != model.horizon:
        raise ValueError(f"{model.name} was calibrated at horizon {model.horizon}, the contract says {horizon}")
    with single_thread():
        rows = golden_rows(model.encoder_)
        risks = model.risk(rows, horizon)
    return ModelCard(
        cancer=cancer,
        family=model.family,
        name=model.name,
        kind=model.kind,
        endpoint=contract.endpoint.name,
        horizon=horizon,
        decision_threshold=contract.endpoint.decision_threshold,
        contract_sha256=contract.digest,
        seed=model.seed,
        features=tuple(
            FeatureCard(
                name=column.name,
                dtype=column.dtype,
                unit=column.unit,
                plausible_range=column.plausible_range,
                categories=column.categories,
                max_missing=column.max_missing,
                sensitive=column.sensitive,
                description=column.description,
            )
            for column in contract.features
        ),
        recalibration=RecalibrationCard(
            link=model.recalibration.link,
            intercept=model.recalibration.intercept,
            slope=model.recalibration.slope,
        ),
        encoder=model.encoder_.state(),
        predictor=dismantle(model.predictor_)[0],
        golden=tuple(GoldenRow(row=row, risk=float(risk)) for row, risk in zip(rows, risks, strict=True)),
        provenance=provenance,
    )


def golden_rows(encoder: Encoder, rows: int = GOLDEN_ROWS) -> list[dict[str, float | str | None]]:
    """Inputs drawn column by column from the training quantiles, frequencies and share of missing values."""
    rng = np.random.default_rng(0)
    columns: dict[str, list[float | str | None]] = {}
    for feature in encoder.features:
        profile = encoder.profile[feature.name]
        missing = rng.random(rows) < profile["missing"]
        if feature.dtype == "category":
            frequencies = np.asarray(profile["frequencies"])
            drawn = rng.choice(len(feature.levels), size=rows, p=frequencies / frequencies.sum())
            values: list[float | str | None] = [feature.levels[index] for index in drawn]
        else:
            quantiles = profile["quantiles"] or [0.0]
            drawn = np.interp(rng.random(rows), np.linspace(0.0, 1.0, len(quantiles)), quantiles)
            whole = feature.dtype in ("integer", "boolean")
            values = (np.round(drawn) if whole else np.round(drawn, 3)).tolist()
        columns[feature.name] = [None if gap else value for gap, value in zip(missing, values, strict=True)]
    return [{name: column[index] for name, column in columns.items()} for index in range(rows)]
