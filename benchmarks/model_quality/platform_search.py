"""The platform as a procedure: everything it does to training data, from encoding to recalibration."""

from __future__ import annotations

from benchmarks.model_quality.task import Forecast, Task
from clinical_assets.modeling.determinism import single_thread
from clinical_assets.modeling.encoder import features_of
from clinical_assets.modeling.selection import Procedure


def platform(task: Task) -> Forecast:
    """Cross-validate every family, choose, recalibrate, refit; the cancer type's own model options decide how."""
    options, contract = task.cancer.models, task.cancer.contract
    search = Procedure(features_of(contract), options.families, task.outcomes.kind, task.horizon, task.seed)
    with single_thread():
        found = search.run(task.train, task.outcomes, options.folds)
        model = found.candidate
        survival = None if task.times is None else model.survival(task.test, task.times)
        return Forecast(model.risk(task.test, task.horizon), survival, {"family": found.family})
