"""How good predictions for held-out subjects are: per fold where folds are compared, pooled where only many tell."""

from __future__ import annotations

import numpy as np

from benchmarks.model_quality.task import Forecast
from clinical_assets.modeling.curves import censoring_curve
from clinical_assets.modeling.likelihood import ConvergenceError
from clinical_assets.modeling.metrics.calibration import calibration_at_horizon
from clinical_assets.modeling.metrics.discrimination import auroc, harrell_c, uno_c
from clinical_assets.modeling.metrics.prediction_error import brier, ibs
from clinical_assets.modeling.outcomes import Outcomes

GRID = 25
"""Points of the integrated Brier score, evenly spaced up to the horizon."""
PRIMARY = {"survival": "uno_c", "binary": "auroc"}


def time_grid(horizon: float | None) -> np.ndarray | None:
    """(GRID,) days at which survival is asked."""
    return None if horizon is None else np.linspace(horizon / GRID, horizon, GRID)


def fold_measures(
    train: Outcomes, test: Outcomes, forecast: Forecast, horizon: float | None, times: np.ndarray | None
) -> dict[str, float | None]:
    """Discrimination and error in one fold; None where its outcomes do not define a measure.

    Survival: censoring is estimated on the training part, errors run up to the fold's last follow-up at most. The
    outcomes alone decide what is undefined, so that all procedures keep the same folds.
    """
    if horizon is None or times is None:
        correct = (forecast.risk >= 0.5) == test.flag
        both = 0 < test.events < test.n
        return {
            "auroc": auroc(test, forecast.risk) if both else None,
            "accuracy": float(correct.mean()),
            "brier": brier(test, forecast.risk, None),
        }
    assert forecast.survival is not None
    censoring = censoring_curve(train)
    known = times <= test.times().max()
    comparable = test.events and np.min(test.times()[test.flag]) < min(horizon, test.times().max())
    return {
        "uno_c": uno_c(test, forecast.risk, horizon, censoring) if comparable else None,
        "harrell_c": harrell_c(test, forecast.risk) if comparable else None,
        "brier": brier(test, forecast.risk, horizon, censoring),
        "ibs": ibs(test, forecast.survival[:, known], times[known], censoring) if known.sum() > 1 else None,
    }


def pooled_measures(outcomes: Outcomes, risk: np.ndarray, horizon: float | None) -> dict[str, float | None]:
    """Calibration of one repeat's out-of-fold risks (n,) of all subjects; single folds are too small for it."""
    try:
        found = calibration_at_horizon(outcomes, risk, horizon)
    except (ConvergenceError, ValueError):
        return {"ici": None, "slope": None, "oe": None}
    slope = found.slope if np.isfinite(found.slope) else None
    return {"ici": found.ici, "slope": slope, "oe": found.oe}
