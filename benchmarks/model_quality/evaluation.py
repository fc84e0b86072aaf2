"""One procedure on one cohort: every fold of every repeat, with what it cost."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.model_quality.cohorts import Cohort, Subjects
from benchmarks.model_quality.measures import fold_measures, pooled_measures, time_grid
from benchmarks.model_quality.procedures import PLATFORM, procedure
from benchmarks.model_quality.task import Procedure, Task
from clinical_assets.foundation.canonical import sha256_file, sha256_json
from clinical_assets.lineage import code_digest

_LEARNING = ("task", "cohorts", "design", "survival_peers", "binary_peers", "boosting", "procedures", "measures")


@dataclass(frozen=True)
class Plan:
    """What all cohorts share. Cohorts above `large` subjects get one repeat: there a second one adds little."""

    folds: int = 5
    repeats: int = 2
    seed: int = 20240501
    subjects: Subjects = Subjects.ALL
    large: int = 3000

    def repeats_for(self, subjects: int) -> int:
        return 1 if subjects > self.large else self.repeats


def key(cohort: Cohort, name: str, plan: Plan) -> str:
    """Identity of a result: data, plan, and the code of the procedure and of the measures. Equal key, equal result.

    A change of the platform's modelling code makes the platform run again, and leaves its peers alone.
    """
    code = [_code_digest(*_LEARNING), code_digest("modeling/metrics")]
    if name == PLATFORM:
        code += [_code_digest("platform_search"), code_digest("modeling"), cohort.cancer.models.model_dump(mode="json")]
    return sha256_json([cohort.data_sha256, name, asdict(plan), code])


@lru_cache
def _code_digest(*modules: str) -> str:
    return sha256_json([sha256_file(Path(__file__).with_name(f"{name}.py")) for name in modules])


def evaluate(cohort: Cohort, name: str, plan: Plan) -> dict[str, Any]:
    """Learn inside each fold, predict the rest; `folds` holds the measures of each, `pooled` those of each repeat.

    Raises:
        ValueError: fewer early events than folds, or a procedure that cannot learn from a fold.
    """
    learn = procedure(name, cohort.outcomes.kind)
    folds, pooled = [], []
    for repeat, fold in enumerate(cohort.folds(plan.folds, plan.repeats_for(cohort.outcomes.n), plan.seed)):
        risk = np.empty(cohort.outcomes.n)
        for k in range(plan.folds):
            held_out = fold == k
            risk[held_out], row = _one_fold(learn, cohort, held_out, plan.seed + 100 * repeat + k)
            folds.append({"repeat": repeat, "fold": k, **row})
        pooled.append(_rounded(pooled_measures(cohort.outcomes, risk, cohort.horizon)))
    return {"folds": folds, "pooled": pooled}


def _one_fold(learn: Procedure, cohort: Cohort, held_out: np.ndarray, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
    """Risks of the held-out subjects, and the fold's line; their outcomes enter after the prediction only."""
    train, test = cohort.outcomes.take(~held_out), cohort.outcomes.take(held_out)
    times = time_grid(cohort.horizon)
    features = [column.name for column in cohort.cancer.contract.features]
    task = Task(
        cohort.cancer,
        cohort.frame.loc[~held_out].reset_index(drop=True),
        train,
        cohort.frame.loc[held_out, features].reset_index(drop=True),
        times,
        seed,
    )
    started = time.process_time()
    forecast = learn(task)
    row = {
        "train": train.n,
        "test": test.n,
        "test_events": test.events,
        "cpu_seconds": round(time.process_time() - started, 3),
        **_rounded(fold_measures(train, test, forecast, cohort.horizon, times)),
        "chosen": forecast.chosen,
    }
    return forecast.risk, row


def _rounded(measures: dict[str, float | None]) -> dict[str, float | None]:
    """Six digits; a measure that does not exist is None, and so is one that no number holds."""
    return {
        name: float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
        for name, value in measures.items()
    }
