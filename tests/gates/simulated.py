"""Releases whose model is right by construction: survival times drawn from the very curves that it states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from clinical_assets.gates.checks import REGISTER, Case
from clinical_assets.gates.facts import Predictions, ReleaseFacts
from clinical_assets.gates.performance import gate as performance  # noqa: F401  registers the checks
from clinical_assets.gates.policy import GatePolicy
from clinical_assets.gates.verdict import CheckResult

TEST_SHARE = 0.3
MEAN_RISK = 0.4
Change = Callable[[Predictions], Predictions]


def simulated_release(
    facts: ReleaseFacts,
    rng: np.random.Generator,
    events: int,
    spread: float = 0.6,
    change: Change = lambda model: model,
) -> ReleaseFacts:
    """`facts` with about `events` events by the horizon over both sets, 30 % of them in the test split.

    Proportional hazards with a log hazard of standard deviation `spread`, linear in time; uniform censoring from half
    the horizon on. The candidate states the true curves, then `change` is applied; the reference model states curves
    of the same level whose log hazards are slightly off, as a second fit to the same patients would.
    """
    horizon = float(facts.contract.endpoint.horizon_days or 0.0)
    n = round(events / (0.8 * MEAN_RISK))
    times = np.linspace(horizon / 20, horizon, 20)
    rate = -np.log1p(-MEAN_RISK) * np.exp(-(spread**2) / 2)
    linear = spread * rng.normal(size=n)
    stated, other = (_curves(rate * np.exp(lp), times) for lp in (linear, 0.97 * linear + 0.1 * rng.normal(size=n)))
    died = horizon * rng.exponential(size=n) / (rate * np.exp(linear))
    censored = horizon * rng.uniform(0.5, 3.0, size=n)
    subjects = np.array([f"P{k:06d}" for k in range(n)], dtype=object)
    frame = pd.DataFrame(
        {
            "subject_id": subjects,
            "index_date": pd.Timestamp("2020-01-01"),
            **{column.name: np.nan for column in facts.contract.features},
            "time": np.maximum(np.minimum(died, censored), 1.0),
            "event": (died <= censored).astype(np.int8),
        }
    )
    tested = np.arange(n) < TEST_SHARE * n

    def part(curves: np.ndarray, rows: np.ndarray) -> Predictions:
        return Predictions(subjects[rows], 1.0 - curves[rows, -1], curves[rows], times)

    return replace(
        facts,
        train=frame[~tested].reset_index(drop=True),
        test=frame[tested].reset_index(drop=True),
        test_pred=change(part(stated, tested)),
        oof=change(part(stated, ~tested)),
        reference_pred=part(other, tested),
        reference_oof=part(other, ~tested),
    )


def _curves(rate: np.ndarray, times: np.ndarray) -> np.ndarray:
    return np.exp(-rate[:, None] * times / times[-1])


def run_checks(facts: ReleaseFacts, ids: tuple[str, ...], policy: GatePolicy) -> dict[str, CheckResult]:
    """Only these checks, in this order, on one case."""
    case = Case(facts, policy)
    for id in ids:
        case.results[id] = REGISTER[id].run(case)
    return case.results


def hazards_times(factor: float) -> Change:
    """The curves to a power: hazards stated `factor` times as high."""

    def change(model: Predictions) -> Predictions:
        assert model.survival is not None
        survival = model.survival**factor
        return replace(model, survival=survival, risk=1.0 - survival[:, -1])

    return change


def clock_times(factor: float) -> Change:
    """Curves read at `factor` times the time that is asked for."""

    def change(model: Predictions) -> Predictions:
        assert model.survival is not None
        assert model.times is not None
        known = np.append(0.0, model.times)
        survival = np.array([np.interp(factor * model.times, known, np.append(1.0, row)) for row in model.survival])
        return replace(model, survival=survival, risk=1.0 - survival[:, -1])

    return change


def spread_times(factor: float) -> Change:
    """Risks spread out on the link scale around their mean: overconfident above 1."""

    def change(model: Predictions) -> Predictions:
        assert model.survival is not None
        hazard = np.log(-np.log(model.survival))
        moved = (factor - 1.0) * (hazard[:, -1] - hazard[:, -1].mean())
        survival = model.survival ** np.exp(moved)[:, None]
        return replace(model, survival=survival, risk=1.0 - survival[:, -1])

    return change
