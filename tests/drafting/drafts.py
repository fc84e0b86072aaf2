"""`clinical new-cancer` as a person runs it, and a small cohort to run it on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from typer.testing import CliRunner, Result

from clinical_assets.catalog import CancerType, load_catalog
from clinical_assets.cli import app
from clinical_assets.trials.column import Column


def run(slug: str, *options: str) -> Result:
    return CliRunner().invoke(app, ["new-cancer", slug, *options], catch_exceptions=True)


def written(slug: str, file: Path, *options: str) -> CancerType:
    """The cancer type as the catalogue loads it right after the command."""
    result = run(slug, "--from", str(file), *options)
    assert result.exit_code == 0, result.exception or result.output
    return load_catalog()[slug]


def csv(frame: pd.DataFrame, file: Path, **options: Any) -> Path:
    frame.to_csv(file, index=False, **options)
    return file


def columns(cancer: CancerType, role: str) -> list[str]:
    return [column.name for column in cancer.contract.columns if column.role == role]


def column(cancer: CancerType, name: str) -> Column:
    return next(column for column in cancer.contract.columns if column.name == name)


def small(**changes: Any) -> pd.DataFrame:
    """Sixty invented patients, every other with an event."""
    n = 60
    chance = np.random.default_rng(0)
    frame = {
        "patient_id": [f"P-{number:04d}" for number in range(n)],
        "months": np.round(chance.exponential(30, n) + 1, 2),
        "died": np.arange(n) % 2,
        "age": chance.integers(31, 84, n),
        "stage": chance.choice(["I", "II", "III"], n),
        "psa": np.round(chance.lognormal(2, 1, n), 3),
    }
    return pd.DataFrame({**frame, **changes})


SMALL = ("--time", "months", "--event", "died", "--time-unit", "months")
