"""A made-up cohort of any size: 30 features, proportional hazards, censoring; and the contract that describes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

SHIPPED = Path(__file__).parent.parent / "configs" / "cancers"
NUMBERS, CATEGORIES, CHUNK = 20, 10, 100_000
LEVELS = ("a", "b", "c", "d")
HORIZON = 1826.25


def write_cohort(configs: Path, rows: int) -> str:
    """Write the Parquet file and the catalogue entry below `configs`, beside one entry of the catalogue that ships: a
    catalogue of simulated cohorts alone is none. Returns the cancer type's name."""
    slug = f"made_up_{rows}"
    (configs / "cancers").mkdir(parents=True, exist_ok=True)
    (configs / "simulated").mkdir(exist_ok=True)
    shutil.copy(SHIPPED / "colon.yaml", configs / "cancers")
    (configs / "platform.yaml").write_text(yaml.safe_dump({"catalogue": {"simulated": True}}))
    file = configs / "simulated" / f"{slug}.parquet"
    rng = np.random.default_rng(rows)
    writer = None
    for start in range(0, rows, CHUNK):
        table = pa.Table.from_pandas(_chunk(rng, start, min(CHUNK, rows - start)), preserve_index=False)
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()
    (configs / "simulated" / f"{slug}.yaml").write_text(yaml.safe_dump(_contract(slug, file.name), sort_keys=False))
    return slug


def _chunk(rng: np.random.Generator, start: int, rows: int) -> pd.DataFrame:
    numbers = rng.normal(size=(rows, NUMBERS))
    codes = rng.integers(0, len(LEVELS), size=(rows, CATEGORIES))
    hazard = 0.4 * numbers[:, 0] + 0.3 * np.abs(numbers[:, 1]) + 0.3 * (codes[:, 0] == 0) - 0.2 * numbers[:, 2]
    time = rng.exponential(4000.0 / np.exp(hazard))
    censored = rng.uniform(500.0, 4000.0, size=rows)
    frame = pd.DataFrame(numbers.round(4), columns=[f"number_{i}" for i in range(NUMBERS)])
    for index in range(CATEGORIES):
        frame[f"category_{index}"] = np.asarray(LEVELS)[codes[:, index]]
    frame.insert(0, "patient", [f"p{start + i:08d}" for i in range(rows)])
    frame["days"] = np.minimum(time, censored).clip(min=1.0).round(1)
    frame["died"] = (time <= censored).astype(int)
    return frame


def _contract(slug: str, file: str) -> dict[str, object]:
    measured = {"role": "feature", "available_at": 0, "dtype": "number", "unit": "1", "plausible_range": [-10, 10]}
    graded = {"role": "feature", "available_at": 0, "dtype": "category", "categories": list(LEVELS)}
    return {
        "slug": slug,
        "title": "Made-up cohort for timing",
        "icd10": "C80",
        "task": "prognosis",
        "tier": "research",
        "tier_reason": "Made up; for timing only.",
        "owners": ["team:benchmarks"],
        "context_of_use": {"intended_use": "Timing.", "users": "Developers.", "not_for": "Anything else."},
        "source": {
            "kind": "parquet",
            "path": file,
            "data_status": "simulated",
            "licence": "MIT",
            "citation": "Made up by benchmarks/large_cohort.py",
        },
        "split": {"salt": f"{slug}-1", "test_fraction": 0.3},
        "contract": {
            "endpoint": {
                "kind": "survival",
                "name": "death",
                "horizon_days": HORIZON,
                "time_unit": "days",
                "event_rate_band": [0.2, 0.7],
                "decision_threshold": 0.4,
            },
            "index_date": {"kind": "nominal", "date": "2020-01-01", "note": "Made up."},
            "columns": [
                {"name": "patient", "role": "subject", "dtype": "category"},
                *({"name": f"number_{i}", **measured} for i in range(NUMBERS)),
                *({"name": f"category_{i}", **graded} for i in range(CATEGORIES)),
                {"name": "days", "role": "time", "dtype": "number", "unit": "day"},
                {"name": "died", "role": "event", "dtype": "boolean"},
            ],
        },
    }
