"""Predictions on patients that a model has not seen: made once, stored by model, summarised in a few numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.gates.facts import Predictions

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.modeling.interface import RiskModel
    from clinical_assets.modeling.search import OutOfFold
    from clinical_assets.trials.contract import CohortContract

GRID = 50
"""Points of the survival curves, evenly spaced from the index date to the horizon."""


def predict(model: RiskModel, frame: pd.DataFrame, contract: CohortContract) -> Predictions:
    """Risk at the horizon and, for a survival endpoint, the survival curve on `GRID` times up to it."""
    horizon = contract.endpoint.horizon_days
    X = frame[[column.name for column in contract.features]]
    subjects = frame["subject_id"].to_numpy()
    risk = model.risk(X, horizon)
    if horizon is None:
        return Predictions(subjects, risk)
    times = np.linspace(horizon / GRID, horizon, GRID)
    return Predictions(subjects, risk, model.survival(X, times), times)


def out_of_fold(found: OutOfFold, subjects: np.ndarray) -> Predictions:
    """Out-of-fold predictions of the training subjects."""
    return Predictions(subjects, found.risk, found.survival, found.times)


def save(path: Path, predictions: Predictions) -> None:
    """Write an uncompressed `.npz` of plain arrays (no pickled objects)."""
    known = {"subject_ids": predictions.subject_ids.astype(str), "risk": predictions.risk}
    if predictions.survival is not None and predictions.times is not None:
        known |= {"survival": predictions.survival, "times": predictions.times}
    arrays: dict[str, Any] = {**known, "nested": np.array(predictions.nested)}
    np.savez(path, **arrays)


def load(path: Path) -> Predictions:
    with np.load(path, allow_pickle=False) as stored:
        found = Predictions(stored["subject_ids"].astype(object), stored["risk"], nested=bool(stored["nested"]))
        return replace(found, survival=stored["survival"], times=stored["times"]) if "times" in stored else found


def headline(frame: pd.DataFrame, contract: CohortContract, predictions: Predictions) -> dict[str, float]:
    """The numbers people look for first, on the locked test split: discrimination, error, calibration."""
    from clinical_assets.modeling.metrics.calibration import calibration_at_horizon
    from clinical_assets.modeling.metrics.discrimination import auroc, harrell_c, uno_c
    from clinical_assets.modeling.metrics.prediction_error import brier, ibs
    from clinical_assets.modeling.outcomes import Outcomes

    outcomes = Outcomes.from_frame(frame, contract.endpoint)
    horizon = contract.endpoint.horizon_days
    calibration = calibration_at_horizon(outcomes, predictions.risk, horizon)
    numbers = {
        "brier": brier(outcomes, predictions.risk, horizon),
        "observed_expected": calibration.oe,
        "ici": calibration.ici,
    }
    if horizon is None:
        return {"auroc": auroc(outcomes, predictions.risk), **numbers}
    assert predictions.survival is not None
    assert predictions.times is not None
    return {
        "uno_c": uno_c(outcomes, predictions.risk, horizon),
        "harrell_c": harrell_c(outcomes, predictions.risk),
        "ibs": ibs(outcomes, predictions.survival, predictions.times),
        **numbers,
    }


def save_headline(directory: Path, numbers: Mapping[str, float]) -> None:
    """Keep the headline beside the predictions that it summarises; a number that does not exist is left out."""
    known = {name: float(value) for name, value in numbers.items() if np.isfinite(value)}
    (directory / "headline.json").write_bytes(canonical_json(known))


def load_headline(directory: Path) -> dict[str, float]:
    return json.loads((directory / "headline.json").read_text())
