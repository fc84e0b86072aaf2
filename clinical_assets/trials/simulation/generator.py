"""A simulated cohort as a table with the columns of its contract: the same bytes from the same declaration."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd

from clinical_assets.trials.contract import CohortContract
from clinical_assets.trials.data_status import SUBJECT_PREFIX
from clinical_assets.trials.errors import ContractError
from clinical_assets.trials.simulation import covariates, outcomes, portable
from clinical_assets.trials.simulation.spec import Simulation


def simulate(simulation: Simulation, contract: CohortContract) -> pd.DataFrame:
    """One row per simulated subject, columns named and ordered as the contract's source columns.

    Effects act on the complete values; what is missing is removed afterwards.

    Raises:
        ContractError: the simulation does not make what the contract declares, or cannot be calibrated.
    """
    try:
        simulation.check(contract)
    except ValueError as error:
        raise ContractError(str(error)) from error
    n, seed = simulation.patients, simulation.seed
    declared = {column.name: column for column in contract.columns}
    complete = covariates.draw(simulation, declared)
    entry = simulation.entry
    waited = np.zeros(n)
    if entry is not None:
        waited = np.floor(portable.uniforms(seed, "entry", n) * ((entry.last - entry.first).days + 1))
    made = dict(zip(contract.outcome_names, _outcomes(simulation, contract, complete, waited), strict=True))
    table: dict[str, object] = {}
    for column in contract.columns:
        if column.role == "subject":
            values: object = [f"{SUBJECT_PREFIX}{number:0{len(str(n))}d}" for number in range(1, n + 1)]
        elif column.role == "index_date":
            assert entry is not None
            values = [(entry.last - dt.timedelta(days=int(days))).isoformat() for days in waited]
        elif column.role in made:
            values = made[column.role]
        else:
            values = _observed(simulation, column.name, complete[column.name], column.categories)
        table[column.source_name] = values
    return pd.DataFrame(table)


def _outcomes(
    simulation: Simulation, contract: CohortContract, complete: dict[str, np.ndarray], waited: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Values of `contract.outcome_names`, in the unit of the source."""
    predictor = linear_predictor(simulation, contract, complete)
    endpoint = contract.endpoint
    if endpoint.horizon_days is None or simulation.follow_up is None:
        return (outcomes.labels(simulation, predictor),)
    times = outcomes.event_times(simulation, predictor, endpoint.horizon_days)
    days, event = outcomes.followed(times, waited, simulation.follow_up, simulation.seed)
    return days / endpoint.days_per_unit, event


def linear_predictor(simulation: Simulation, contract: CohortContract, complete: dict[str, np.ndarray]) -> np.ndarray:
    """(n,) sum of the effects."""
    declared = {column.name: column for column in contract.columns}
    total = np.zeros(simulation.patients)
    for name, effect in simulation.effects.items():
        if isinstance(effect, dict):
            by_position = np.array([effect.get(category, 0.0) for category in declared[name].categories or ()])
            total = total + by_position[complete[name]]
        else:
            total = total + effect * complete[name]
    return total


def _observed(
    simulation: Simulation, name: str, complete: np.ndarray, categories: tuple[str, ...] | None
) -> np.ndarray | list[str | None]:
    missing = covariates.with_missing(complete, simulation.seed, name, simulation.columns[name].missing)
    if categories is None:
        return np.where(missing, np.nan, complete)
    return [None if gap else categories[place] for place, gap in zip(complete.tolist(), missing.tolist(), strict=True)]
