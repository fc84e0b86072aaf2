"""Folding the log in columns gives the bits that folding it patient by patient gives, in whatever steps it is read."""

from __future__ import annotations

import math
import shutil
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clinical_assets.rollout.tick  # noqa: F401  declares the evidence tables
from clinical_assets.audit.chain import snapshot
from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.entries import Arm, Outcome, OutcomeConflict, Prediction, PredictionStatus
from clinical_assets.rollout.evidence.bets import EProcess, bet, bounded_mean
from clinical_assets.rollout.evidence.courses import bets, multiplied
from clinical_assets.rollout.evidence.drift import ScoreReference
from clinical_assets.rollout.evidence.maturity import CensoringCurve
from clinical_assets.rollout.evidence.onset import Onset
from clinical_assets.rollout.evidence.reading import Cursor, Scope, last_seq
from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.evidence.winsorised import Source, WinsorisedEvidence, tail
from clinical_assets.rollout.evidence_log import Look, news_of
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import RolloutPolicy

from .one_by_one import fold
from .patients import cohort

CHAMPION, CHALLENGER, FOREIGN = "a" * 64, "b" * 64, "f" * 64
ROLLOUT, CANCER = "colon-0001", "colon"
HORIZON = 100.0
SCORES = (0.0, 0.02, 0.1, 0.1, 0.3, 0.55, 1.0)


def survival(**changes: object) -> RolloutPlan:
    values: dict[str, object] = {
        "cancer": CANCER,
        "champion": CHAMPION,
        "challenger": CHALLENGER,
        "champion_brier": 0.08,
        "horizon_days": HORIZON,
        "censoring": CensoringCurve(times=(10.0, 60.0), survival=(0.9, 0.7)),
        "threshold": 0.1,
        "groups": ("sex=female", "sex=male"),
        "champion_scores": ScoreReference((0.05, 0.2), (3, 4, 5)),
        "challenger_scores": ScoreReference((0.05, 0.2), (5, 4, 3)),
        "squared_gap": 0.002,
        "policy": RolloutPolicy(follow_up="as_reported", reporting_lag_days=5.0),
    }
    return RolloutPlan.model_validate(values | changes)


PLANS = (survival(), survival(horizon_days=None, policy=RolloutPolicy()), survival(split_scores="both"))

score = st.one_of(st.sampled_from(SCORES), st.floats(0, 1))


@st.composite
def histories(draw: st.DrawFn) -> list[list[Prediction | Outcome]]:
    """Steps; each holds what was logged before it: requests of few patients, mirrored or randomised, told late."""
    day, number, waiting, steps = 0.0, 0, [], []
    for _ in range(draw(st.integers(1, 4))):
        step: list[Prediction | Outcome] = []
        for _ in range(draw(st.integers(0, 6))):
            kind = draw(st.sampled_from(["request", "request", "outcome", "copy"]))
            day += draw(st.sampled_from([0.0, 1.0, 40.0]))
            at = day * SECONDS_PER_DAY
            if kind == "request":
                number += 1
                name, patient = f"r{number}", f"p{draw(st.integers(0, 4))}"
                propensity = draw(st.sampled_from([0.0, 0.0, 0.05, 0.5, 1.0]))
                challenger = propensity == 1 or (propensity > 0 and draw(st.booleans()))
                digest = draw(st.sampled_from([FOREIGN] + 6 * [CHALLENGER if challenger else CHAMPION]))
                groups = draw(st.sampled_from([(), ("sex=female", "site=1"), ("sex=male", "site=2")]))
                arm = Arm.CHALLENGER if challenger else Arm.CHAMPION
                step.append(_prediction(name, digest, patient, arm, propensity, draw(st.none() | score), at, groups))
                waiting.append((name, patient, challenger, propensity))
            elif kind == "copy" and waiting:
                name, patient, challenger, propensity = draw(st.sampled_from(waiting))
                digest = CHAMPION if challenger else CHALLENGER
                step.append(_prediction(name, digest, patient, Arm.SHADOW, propensity, draw(score), at, ()))
            elif kind == "outcome" and waiting:
                name = draw(st.sampled_from(waiting))[0]
                told = {"label": draw(st.integers(0, 1))}
                if draw(st.booleans()):
                    told = {
                        "time": draw(st.sampled_from([0.0, 30.0, HORIZON, 150.0])),
                        "event": draw(st.integers(0, 1)),
                    }
                step.append(Outcome(name, CANCER, at, **told))
        steps.append(step)
    return steps


def _prediction(
    name: str, digest: str, patient: str, arm: Arm, propensity: float, risk: float | None, at: float, groups: tuple
) -> Prediction:
    status = PredictionStatus.OK if risk is not None else PredictionStatus.INVALID
    return Prediction(name, digest, CANCER, ROLLOUT, patient, arm, propensity, risk, at, status, groups)


def copy_of(asked: Prediction) -> Prediction:
    digest = CHAMPION if asked.arm is Arm.CHALLENGER else CHALLENGER
    risk = 0.25
    return replace(asked, digest=digest, arm=Arm.SHADOW, risk=risk, status=PredictionStatus.OK, groups=())


def usable(plan: RolloutPlan, outcome: Outcome) -> Outcome:
    """A plan without horizon has labels only; person-time needs times."""
    if plan.horizon_days is None and outcome.label is None:
        return Outcome(outcome.request_id, CANCER, outcome.observed_at, label=outcome.event)
    if plan.counts_person_time and outcome.label is not None:
        return Outcome(outcome.request_id, CANCER, outcome.observed_at, time=20.0 * outcome.label, event=outcome.label)
    return outcome


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "log.db"
    engine = engine_for(f"sqlite:///{path}")
    create_tables(engine)
    engine.dispose()
    return path


class Both:
    """A log whose steps are folded in both ways, and compared."""

    def __init__(self, empty: Path, plan: RolloutPlan, path: Path) -> None:
        shutil.copy(empty, path)
        self.plan, self.engine = plan, engine_for(f"sqlite:///{path}")
        self.ledger = Ledger(self.engine, wall=lambda: 1e9)
        self.by_columns = self.by_patient = Evidence.start(plan)
        self.before, self.steps = Cursor(), 0

    def step(self, now: float) -> None:
        self.steps += 1
        with snapshot(self.engine) as connection:
            until = Cursor(last_seq(connection), max(self.before.mature_until, now - self.plan.horizon_s))
            scope = Scope(ROLLOUT, self.plan, self.before, until)
            look = Look(now, 1e9 + self.steps, ("shadow", "5", "100", "watch")[self.steps - 1], None)
            self.by_columns = self.by_columns.update(news_of(connection, scope, self.by_columns, look), self.plan)
            self.by_patient = fold(connection, self.by_patient, scope, look.wall, look.stage)
        assert canonical_json(self.by_columns.to_json()) == canonical_json(self.by_patient.to_json())
        self.before = until


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(PLANS), histories())
def test_every_step_of_any_history_gives_the_bits_of_the_definition(
    empty: Path, plan: RolloutPlan, steps: list[list[Prediction | Outcome]]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        both, latest, asked = Both(empty, plan, Path(directory) / "log.db"), 0.0, {}
        for step in steps:
            for entry in step:
                if isinstance(entry, Prediction):
                    both.ledger.record_predictions([entry])
                    latest = max(latest, entry.predicted_at)
                    asked.setdefault(entry.request_id, entry)
                    continue
                if plan.split_scores == "both":  # as the plan promises: the other model's score is there
                    both.ledger.record_predictions([copy_of(asked[entry.request_id])])
                with suppress(OutcomeConflict):
                    both.ledger.record_outcomes([usable(plan, entry)])
            both.step(latest)
        both.engine.dispose()


@pytest.mark.parametrize("worse", [0, 50])
def test_thousands_of_patients_in_one_step_give_the_bits_of_the_definition(
    empty: Path, tmp_path: Path, worse: int
) -> None:
    plan = survival(horizon_days=None, policy=RolloutPolicy(promotion_test="winsorised", pool_minimum=1000))
    both, rng = Both(empty, plan, tmp_path / "log.db"), np.random.default_rng(worse)
    for step in range(2):
        champion, challenger, outcome = cohort((1500,), rng, worse)
        rows, told = [], []
        for i, (a, b, y) in enumerate(zip(champion.tolist(), challenger.tolist(), outcome.tolist(), strict=True)):
            name, groups = f"r{step}.{i}", (("sex=female", "sex=male")[i % 2], f"site={'ab'[step * (i > 1200)]}")
            rows.append(_prediction(name, CHAMPION, name, Arm.CHAMPION, 0.0, a, float(i), groups))
            rows.append(_prediction(name, CHALLENGER, name, Arm.SHADOW, 0.0, b, float(i), ()))
            told.append(Outcome(name, CANCER, float(i), label=int(y)))
        both.ledger.record_predictions(rows)
        both.ledger.record_outcomes(told)
        both.step(1e4)
    assert both.by_columns.paired.n == 3000
    assert both.by_columns.companions.winsorised is not None
    both.engine.dispose()


bounded = st.lists(st.one_of(st.floats(-1, 1), st.sampled_from([0.0, -1.0, 1.0, 1e-300])), min_size=1, max_size=40)


@given(st.lists(bounded, min_size=1, max_size=4))
def test_a_mixture_its_peak_and_its_onset_do_not_depend_on_the_batch(batches: list[list[float]]) -> None:
    many, one = bounded_mean(), bounded_mean()
    began, since = Onset(), Onset()
    at = 0.0
    for batch in batches:
        many, course = multiplied(many, bets(np.array(batch), -1.0))
        times = at + np.arange(len(batch))
        since = since.follow(course, times)
        for i, (w, time) in enumerate(zip(batch, times.tolist(), strict=True)):
            one = bet(one, w, -1.0)
            began = began.update(one.log_e, time)
            assert course.exactly(i) == one.log_e
        at = float(times[-1]) + 1
    assert (many, since) == (one, began)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_the_cut_off_test_stops_at_the_same_patient(patients: list[tuple[float, float, bool, bool]]) -> None:
    """Whoever trips the guard or comes from elsewhere ends the cut-off part, whatever stands beside them in a batch."""
    margin, one = 0.05, WinsorisedEvidence.start(0.004, 0.05, Source(("a",)))
    many, columns = one, []
    for a, b, died, elsewhere in patients:
        z, h = (b - died) ** 2 - (a - died) ** 2, float(tail(b, a))
        columns.append((z, h, not elsewhere))
        one = one.seen_at("b" if elsewhere else "a", 0.0).update(z, h, margin)
    half = len(columns) // 2
    for part in (columns[:half], columns[half:]):
        if part:
            z, h, covered = (np.array(column) for column in zip(*part, strict=True))
            many = many.follow(z, h, covered, margin)
    assert many == one


def test_what_one_observation_refuses_a_batch_refuses() -> None:
    with pytest.raises(ValueError, match=r"observation -1\.5 with lower bound -1\.0"):
        bets(np.array([0.1, -1.5, 0.2]), -1.0)
    with pytest.raises(ValueError, match="must be finite"):
        multiplied(EProcess.start((1.0,)), [np.array([0.0, math.nan])])
