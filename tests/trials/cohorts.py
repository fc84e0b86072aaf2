"""A small cohort in a csv file, complete enough to exercise every role of a contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.sources.spec import SourceSpec

COLUMNS: list[dict[str, Any]] = [
    {"name": "patient", "role": "subject", "dtype": "category"},
    {"name": "enrolled", "role": "index_date", "dtype": "date"},
    {"name": "age", "role": "feature", "dtype": "integer", "unit": "year", "plausible_range": [0, 110],
     "available_at": 0, "sensitive": True},
    {"name": "marker", "source": "Marker (ng/mL)", "role": "feature", "dtype": "number", "unit": "ng/mL",
     "plausible_range": [0, 500], "available_at": -7, "max_missing": 0.5},
    {"name": "stage", "role": "feature", "dtype": "category", "categories": ["early", "late"],
     "recode": {1: "early", 2: "late"}, "available_at": 0},
    {"name": "treated", "role": "feature", "dtype": "boolean", "available_at": 0},
    {"name": "site", "role": "ignored", "reason": "means nothing elsewhere"},
    {"name": "months", "role": "time", "unit": "month"},
    {"name": "status", "role": "event", "recode": {"alive": 0, "dead": 1}},
]  # fmt: skip

CSV = """patient,enrolled,age,Marker (ng/mL),stage,treated,site,months,status
007,2001-03-01,61,12.5,1,true,A,24,dead
010,2001-05-01,48,NA,2,false,A,12,alive
001,2000-01-01,70,3,2,1,B,48,dead
"""


def contract(**changes: Any) -> CohortContract:
    declared = {
        "endpoint": {
            "kind": "survival", "name": "overall survival", "horizon_days": 730.5, "time_unit": "months",
            "event_rate_band": [0.1, 0.9], "decision_threshold": 0.3,
        },
        "index_date": {"kind": "calendar", "column": "enrolled", "note": "enrolment"},
        "bands": {"age": [50, 65]},
        "columns": COLUMNS,
    }  # fmt: skip
    return CohortContract.model_validate({**declared, **changes})


def changed_column(name: str, /, **changes: Any) -> list[dict[str, Any]]:
    return [{**column, **changes} if column["name"] == name else column for column in COLUMNS]


ORIGIN = {"data_status": "simulated", "licence": "CC0", "citation": "invented"}


def source(directory: Path, text: str = CSV, **changes: Any) -> SourceSpec:
    file = directory / "cohort.csv"
    file.write_text(text)
    return SourceSpec.model_validate({"kind": "csv", "path": str(file), **ORIGIN, **changes})


def csv_at(path: str, **changes: Any) -> SourceSpec:
    """A csv file that lies at `path`, wherever that is."""
    return SourceSpec.model_validate({"kind": "csv", "path": path, **ORIGIN, **changes})


def packaged(package: str, dataset: str, **changes: Any) -> SourceSpec:
    return SourceSpec.model_validate({"kind": "package", "package": package, "dataset": dataset, **ORIGIN, **changes})
