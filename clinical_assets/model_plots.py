"""The pictures of a trained model on patients that it has not seen: calibration, and agreement by subgroup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clinical_assets.modeling.metrics.bootstrap import Draws, observed_expected_interval
from clinical_assets.modeling.outcomes import Outcomes
from clinical_assets.modeling.plots import ForestRow, calibration, subgroup_forest
from clinical_assets.trials.groups import sensitive_groups
from clinical_assets.trials.small_cells import SMALLEST_CELL

if TYPE_CHECKING:
    import pandas as pd

    from clinical_assets.catalog import CancerType
    from clinical_assets.gates.facts import Predictions


def pictures(cancer: CancerType, test: pd.DataFrame, predictions: Predictions) -> dict[str, bytes]:
    """PNG by title. `predictions` are in the row order of `test`."""
    endpoint = cancer.contract.endpoint
    outcomes = Outcomes.from_frame(test, endpoint)
    made = {"calibration": calibration(outcomes, predictions.risk, endpoint.horizon_days, cancer.heading)}
    rows = _forest(cancer, test, outcomes, predictions)
    if rows:
        metric = "observed / expected risk (95 % interval)"
        made["subgroups"] = subgroup_forest(rows, cancer.heading, metric, overall=1.0)
    return made


def _forest(cancer: CancerType, test: pd.DataFrame, outcomes: Outcomes, predictions: Predictions) -> list[ForestRow]:
    rows = []
    groups = sensitive_groups(test, cancer.contract)
    for attribute in groups.columns:
        for group in sorted(groups[attribute].unique()):
            inside = (groups[attribute] == group).to_numpy()
            part = outcomes.take(inside)
            if part.n < SMALLEST_CELL or part.events == 0:
                continue
            draws = Draws.make(part.n, cancer.models.seed)
            interval = observed_expected_interval(
                part, predictions.risk[inside], cancer.contract.endpoint.horizon_days, draws
            )
            rows.append(
                ForestRow(f"{attribute} {group}", interval.estimate, interval.low, interval.high, part.n, part.events)
            )
    return rows
