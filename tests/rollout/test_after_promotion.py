"""After the promotion the old model scores every patient too; a detector watches the new one's prediction errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clinical_assets.rollout.controller import Action
from clinical_assets.rollout.evidence.after_promotion import OutcomeWatch
from clinical_assets.rollout.evidence.bets import FRACTIONS
from clinical_assets.rollout.evidence_log import EvidenceLog
from clinical_assets.rollout.guardrails import outcome_watch_limit
from clinical_assets.rollout.replay import replay

from .conftest import CANCER, CHALLENGER, CHAMPION, DAY, World
from .patients import cohort


def promoted(world: World) -> None:
    world.to_ramp()
    for _ in range(4):
        world.treat(500)
        world.clock.at += DAY
        world.tick()
    world.authority.approved_by = "dr_curie"
    world.until("100")


def test_the_old_model_scores_every_patient_whom_the_new_one_answers(world: World) -> None:
    promoted(world)
    route = world.router.read(CANCER)
    assert (route.weights, route.mirror) == ({CHAMPION: 0, CHALLENGER: 100}, True)
    world.treat(60)
    world.treat(40, label=False)
    evidence = world.tick().evidence
    assert evidence.promoted.n == 60, "a patient without outcome is no news"


@pytest.mark.parametrize("stage", ["100", "watch"])
def test_predictions_that_get_worse_after_the_promotion_lead_back(world: World, stage: str) -> None:
    promoted(world)
    world.treat(300)
    if stage == "watch":
        world.clock.at += DAY
        world.until("watch")
        world.treat(200)
        assert world.tick().decision.action is Action.CONTINUE
    for _ in range(30):
        world.treat(100, worse=50)
        result = world.tick()
        if result.decision.action is Action.ROLLBACK:
            break
    assert (result.decision.rule, world.share()) == ("watch_outcomes", 0)
    assert result.decision.statistics["watch_outcomes"]["mean"] > 0
    assert result.transition.transition.statistics["rollback"]["first_bad_sample_at"] is not None
    log = EvidenceLog(world.engine)
    assert log.replay(world.rollout_id, world.plan) == log.current(world.rollout_id, world.plan)
    assert not any(row.differences for row in replay(world.ledger, world.rollout_id))


def test_an_equal_model_is_left_in_place(world: World) -> None:
    promoted(world)
    world.treat(1500)
    world.clock.at += DAY
    world.until("watch")
    world.treat(1500)
    world.clock.at += 2 * DAY
    assert world.until("done").evidence.promoted.n == 3000


def test_the_detector_is_the_recursion_with_one_bet_a_day(world: World) -> None:
    rng = np.random.default_rng(5)
    z, days = rng.uniform(-1, 1, 200), np.cumsum(rng.exponential(0.2, 200))
    watch = OutcomeWatch.start()
    m, last, spent = np.zeros(len(FRACTIONS)), None, 0.0
    for loss, day in zip(z, days, strict=True):
        added = min(1.0 if last is None else day - last, 30.0 - spent)
        last, spent = day, spent + added
        m = (m + added) * (1 + np.array(FRACTIONS) * loss)
        watch = watch.update(float(loss), day * DAY, 0.0, 1.0, 30.0)
        assert watch.detector.log_mean == pytest.approx(math.log(m.mean()), abs=1e-9)
    assert watch.put_in == pytest.approx(30.0), "what is put in is bounded, however long the watch lasts"
    assert OutcomeWatch.from_json(watch.to_json()) == watch


def test_false_alarms_are_bounded_by_what_was_put_in(world: World) -> None:
    """30 days of 20 patients each, an equal model, looked at after every patient."""
    rng, most, alarms = np.random.default_rng(20), 31.0, 0
    replications = 300
    for _ in range(replications):
        a, b, y = cohort((600,), rng)
        z = (b - y) ** 2 - (a - y) ** 2
        watch = OutcomeWatch.start()
        for day, loss in enumerate(z):
            watch = watch.update(float(loss), day / 20 * DAY, 0.0, 1.0, most)
        alarms += watch.detector.alarms(most / 0.05)
    assert alarms / replications <= 0.05
    assert outcome_watch_limit(world.plan) == pytest.approx((1 + 2 + 1) / 0.05)


def test_an_impossible_difference_is_refused() -> None:
    with pytest.raises(ValueError, match="exceeds"):
        OutcomeWatch.start().update(1.1, 0.0, 0.0, 1.0, 30.0)
