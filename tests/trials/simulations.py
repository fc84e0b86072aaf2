"""A declared simulation that uses every distribution, with the contract that it fulfils."""

from __future__ import annotations

from typing import Any

import pandas as pd

from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.simulation.generator import simulate
from clinical_assets.trials.simulation.spec import Simulation

HORIZON = 1826.25

COLUMNS: list[dict[str, Any]] = [
    {"name": "patient", "role": "subject", "dtype": "category"},
    {"name": "entered", "role": "index_date", "dtype": "date"},
    {"name": "age", "role": "feature", "dtype": "integer", "unit": "year", "plausible_range": [40, 80],
     "available_at": 0, "sensitive": True},
    {"name": "sex", "role": "feature", "dtype": "category", "categories": ["female", "male"], "available_at": 0,
     "sensitive": True},
    {"name": "stage", "role": "feature", "dtype": "category", "categories": ["local", "regional", "distant"],
     "available_at": 0},
    {"name": "marker", "source": "Marker (ng/mL)", "role": "feature", "unit": "ng/mL", "plausible_range": [1, 200],
     "available_at": 0, "max_missing": 0.1},
    {"name": "nodes", "role": "feature", "dtype": "integer", "unit": "count", "plausible_range": [0, 12],
     "available_at": 0},
    {"name": "arm", "role": "feature", "dtype": "category", "categories": ["standard", "new"], "available_at": 0},
    {"name": "resected", "role": "feature", "dtype": "boolean", "available_at": 0},
    {"name": "centre", "role": "ignored", "dtype": "category", "categories": ["a", "b", "c"], "reason": "no effect"},
    {"name": "days", "role": "time", "unit": "day"},
    {"name": "died", "role": "event", "dtype": "boolean"},
]  # fmt: skip

SIMULATION: dict[str, Any] = {
    "generator": 1, "seed": 7, "patients": 20_000, "event_rate": 0.4,
    "baseline": {"hazard": "weibull", "shape": 0.8},
    "follow_up": {"days": 1096, "censored_share": 0.6},
    "entry": {"first": "2012-01-01", "last": "2018-12-31"},
    "columns": {
        "age": {"distribution": "normal", "mean": 62, "sd": 12},
        "sex": {"distribution": "categorical", "shares": {"male": 0.6, "female": 0.4}},
        "stage": {"distribution": "categorical", "shares": {"local": 0.3, "regional": 0.5, "distant": 0.2}},
        "marker": {"distribution": "lognormal", "median": 20, "log_sd": 0.8, "missing": 0.07},
        "nodes": {"distribution": "count", "mean": 2.5},
        "arm": {"distribution": "categorical", "shares": {"standard": 0.5, "new": 0.5}},
        "resected": {"distribution": "bernoulli", "share": 0.7},
        "centre": {"distribution": "categorical", "shares": {"a": 0.5, "b": 0.3, "c": 0.2}},
    },
    "correlations": [{"between": ["age", "marker"], "r": 0.4}, {"between": ["stage", "resected"], "r": -0.3}],
    "effects": {"age": 0.03, "sex": {"male": 0.25}, "stage": {"regional": 0.5, "distant": 1.2}, "nodes": 0.1,
                "arm": {"new": -0.357}, "resected": -0.5},
}  # fmt: skip


def contract(**changes: Any) -> CohortContract:
    declared = {
        "endpoint": {
            "kind": "survival", "name": "overall survival", "horizon_days": HORIZON, "event_rate_band": [0.3, 0.5],
            "decision_threshold": 0.4,
        },
        "index_date": {"kind": "calendar", "column": "entered", "note": "diagnosis"},
        "bands": {"age": [50, 65]},
        "columns": COLUMNS,
    }  # fmt: skip
    return CohortContract.model_validate({**declared, **changes})


def simulation(**changes: Any) -> Simulation:
    return Simulation.model_validate({**SIMULATION, **changes})


def simulated(**changes: Any) -> pd.DataFrame:
    return simulate(simulation(**changes), contract())


def binary_contract() -> CohortContract:
    endpoint = {"kind": "binary", "name": "malignant", "event_rate_band": [0.1, 0.5], "decision_threshold": 0.3}
    kept = [column for column in COLUMNS if column["role"] not in ("time", "event", "index_date")]
    label = {"name": "malignant", "role": "label", "dtype": "boolean"}
    nominal = {"kind": "nominal", "date": "2020-01-01", "note": "day of the image"}
    return contract(endpoint=endpoint, index_date=nominal, columns=[*kept, label])


def binary_simulation(**changes: Any) -> Simulation:
    without = {name: value for name, value in SIMULATION.items() if name not in ("baseline", "follow_up", "entry")}
    return Simulation.model_validate({**without, "event_rate": 0.2, **changes})
