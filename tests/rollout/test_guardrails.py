"""Every rollback test reaches the decision through the ledger, and missing data are neither a pass nor a fail."""

from __future__ import annotations

import math

import numpy as np
import pytest

from clinical_assets.rollout.controller import Action
from clinical_assets.rollout.entries import Arm, Outcome, Prediction
from clinical_assets.rollout.evidence.drift import score_reference
from clinical_assets.rollout.evidence.latency import SlowRate
from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.evidence_log import EvidenceLog
from clinical_assets.rollout.guardrails import guardrails, shares, statistics
from clinical_assets.rollout.inputs import Reading
from clinical_assets.rollout.policy import ROLLBACK_ALPHA, RolloutPolicy
from clinical_assets.rollout.promotion import proof

from .conftest import CANCER, CHALLENGER, CHAMPION, DAY, World
from .patients import cohort

REFERENCE = score_reference(cohort((4000,), np.random.default_rng(100))[0].tolist())
LATENCY = (SlowRate(50.0, 0.04),)


def _policy(world: World, **changes: object) -> dict[str, object]:
    return world.plan.policy.model_dump() | changes


def _shadow(world: World, risks: list[tuple[float, float, int | None]], groups: tuple[str, ...] = ()) -> list[str]:
    """Mirrored patients with these (champion, challenger, label); `None` = no label yet."""
    entries, labels, ids = [], [], []
    for a, b, y in risks:
        world.patients += 1
        ids.append(f"q{world.patients}")
        who = (CANCER, world.rollout_id, f"p{world.patients}")
        for digest, arm, risk in ((CHAMPION, Arm.CHAMPION, a), (CHALLENGER, Arm.SHADOW, b)):
            entries.append(Prediction(ids[-1], digest, *who, arm, 0.0, risk, world.clock.at, groups=groups))
        if y is not None:
            labels.append(Outcome(ids[-1], CANCER, world.clock.at, label=y))
    world.ledger.record_predictions(entries)
    world.ledger.record_outcomes(labels)
    return ids


def _replayed(world: World) -> Evidence:
    log = EvidenceLog(world.engine)
    replayed = log.replay(world.rollout_id, world.plan)
    assert replayed == log.current(world.rollout_id, world.plan), "the same bits"
    return replayed


@pytest.mark.parametrize("follow_up", ["at_horizon", "as_reported"])
def test_all_rollback_tests_together_spend_no_more_than_the_budget(world: World, follow_up: str) -> None:
    full = world.plan.model_copy(
        update={
            "groups": ("sex=female", "sex=male"),
            "challenger_scores": REFERENCE,
            "latency": LATENCY * 3,
            "horizon_days": 365.0,
            "policy": RolloutPolicy(follow_up=follow_up),
        }
    )
    split = shares(full)
    assert sum(split.values()) == pytest.approx(ROLLBACK_ALPHA)
    assert ("hazard_harm" in split) == (follow_up == "as_reported")
    assert sum(shares(world.plan).values()) < ROLLBACK_ALPHA, "what cannot be measured spends nothing"


def test_a_test_without_data_neither_passes_nor_fails(world: World) -> None:
    fresh = Evidence.start(world.plan)
    for rail in guardrails(fresh, world.plan):
        assert (rail.reading, rail.rejected) == (Reading.NO_DATA, False)
    assert proof(fresh, world.plan).reading is Reading.NO_DATA
    assert statistics(fresh, world.plan)["non_inferiority"]["proven"] is False


def test_too_few_requests_block_the_advance_and_do_not_roll_back(world: World) -> None:
    world.open()
    world.until("shadow")
    _shadow(world, [(0.1, 0.1 + i * 1e-9, 0) for i in range(1600)])
    world.telemetry.add(CHALLENGER, 5, 5)
    result = world.tick()
    assert "error_objective: NO_DATA" in result.decision.reason or "INSUFFICIENT" in result.decision.reason
    assert result.decision.action is Action.CONTINUE


def test_missed_cases_of_one_group_roll_back(world: World) -> None:
    world.open(groups=("sex=female", "sex=male"), threshold=0.1)
    world.until("shadow")
    _shadow(world, [(0.12, 0.12 + i * 1e-9, 1) for i in range(60)], ("sex=male",))
    _shadow(world, [(0.12, 0.09 + i * 1e-9, 1) for i in range(60)], ("sex=female",))
    result = world.tick()
    assert (result.decision.action, result.decision.rule) == (Action.ROLLBACK, "subgroup_harm")
    assert result.transition.transition.statistics["subgroup"] == "sex=female"
    _replayed(world)


@pytest.mark.parametrize(("champion_too", "action"), [(False, Action.ROLLBACK), (True, Action.HOLD)])
def test_drift_rolls_back_only_when_the_champion_is_quiet(world: World, champion_too: bool, action: Action) -> None:
    world.open(champion_scores=REFERENCE, challenger_scores=REFERENCE)
    world.until("shadow")
    a, _, _ = cohort((600,), world.rng)
    moved = np.clip(a * 3, 0, 0.99)
    _shadow(world, [(float(m if champion_too else x), float(m), None) for x, m in zip(a, moved, strict=True)])
    decision = world.tick().decision
    assert (decision.action, decision.rule) == (action, "score_drift")
    assert decision.statistics["score_drift"]["psi"] >= 0.25
    _replayed(world)


def test_slow_answers_roll_back_and_lost_buckets_are_a_configuration_error(world: World) -> None:
    world.open(latency=LATENCY)
    world.until("shadow")
    for look in range(1, 12):
        world.telemetry.counters = {CHAMPION: [100 * look, 0], CHALLENGER: [100 * look, 0]}
        world.telemetry.latency = {
            CHAMPION: ((50.0, 96 * look), (math.inf, 100 * look)),
            CHALLENGER: ((50.0, 70 * look), (math.inf, 100 * look)),
        }
        decision = world.tick().decision
        if decision.action is Action.ROLLBACK:
            break
    assert decision.rule.startswith("latency_")
    assert "50 ms" in decision.reason
    world.rollout_id = ""
    world.open(latency=LATENCY, challenger="d" * 64)
    world.authority.scopes["d" * 64] = world.authority.scopes[CHALLENGER]
    world.telemetry.latency = {CHAMPION: ((20.0, 96), (math.inf, 100))}
    assert world.tick().decision.rule == "telemetry_config"


def test_when_both_models_fail_it_is_said_once_and_nothing_flaps(world: World) -> None:
    world.to_ramp()
    for _ in range(6):
        world.telemetry.add(CHAMPION, 200, 60)
        world.telemetry.add(CHALLENGER, 60, 20)
        result = world.tick()
        if result.decision.action is Action.ROLLBACK:
            break
    assert result.decision.rule == "both_bad"
    assert "a person must decide" in result.decision.reason
    assert world.share() == 0
    assert world.tick().stage == "both_bad"
    rows = len(world.rows())
    for _ in range(5):
        world.telemetry.add(CHAMPION, 200, 0)
        assert (world.tick().stage, world.share()) == ("both_bad", 0)
    assert len(world.rows()) == rows, "it is said once, and a person has to end it"


def test_errors_that_begin_in_the_watch_lead_back_to_the_old_champion(world: World) -> None:
    world.to_ramp()
    for _ in range(4):
        world.treat(500)
        world.clock.at += DAY
        world.tick()
    world.authority.approved_by = "dr_curie"
    world.until("100")
    world.treat(30)
    world.clock.at += DAY
    world.until("watch")
    for _ in range(40):
        world.telemetry.add(CHALLENGER, 200, 0)
        world.tick()
    for _ in range(12):
        world.telemetry.add(CHALLENGER, 200, 4)
        result = world.tick()
        if result.decision.action is Action.ROLLBACK:
            break
    assert result.decision.rule in ("watch_errors", "error_objective")
    assert world.share() == 0
    _replayed(world)


def test_a_pool_of_unlabelled_shadow_patients_proves_sooner(world: World) -> None:
    world.open(policy=_policy(world, promotion_test="winsorised", pool_minimum=5000))
    world.until("shadow")
    a, b, y = cohort((6000,), world.rng)
    ids = _shadow(world, [(float(p), float(q), None) for p, q in zip(a, b, strict=True)])
    world.telemetry.add(CHALLENGER, 6000)
    world.tick()
    found = {}
    for n in range(0, 1600, 200):
        part = zip(ids[n : n + 200], y[n : n + 200], strict=True)
        world.ledger.record_outcomes([Outcome(q, CANCER, world.clock.at, label=int(v)) for q, v in part])
        evidence = world.tick().evidence
        assert evidence.companions.winsorised is not None
        assert proof(evidence, world.plan).test == "winsorised"
        if proof(evidence, world.plan).proven:
            found.setdefault("winsorised", n + 200)
        if evidence.paired.non_inferiority.rejects(0.05):
            found.setdefault("bounded", n + 200)
    assert found["winsorised"] <= found.get("bounded", 1800)
    _replayed(world)


def test_a_small_pool_leaves_the_bounded_test(world: World) -> None:
    world.open(policy=_policy(world, promotion_test="winsorised"))
    world.until("shadow")
    _shadow(world, [(0.1, 0.1, 0)] * 300)
    evidence = world.tick().evidence
    assert evidence.companions.winsorised is None
    assert proof(evidence, world.plan).test == "bounded"


def _open_survival(world: World) -> None:
    policy = _policy(world, follow_up="as_reported", reporting_lag_days=0.0, constant_run=1000)
    world.open(horizon_days=800.0, policy=policy)


@pytest.mark.parametrize("late", [False, True])
def test_person_time_counts_from_day_one_and_late_reports_are_corrected(world: World, late: bool) -> None:
    """200 patients whose risk the challenger triples; five have the event in the first eighth of the horizon."""
    world.open(
        horizon_days=800.0, policy=_policy(world, follow_up="as_reported", reporting_lag_days=0.0, constant_run=1000)
    )
    world.until("shadow")
    ids = _shadow(world, [(0.1, 0.3, None)] * 200)
    events = [Outcome(q, CANCER, world.clock.at, time=50.0, event=1) for q in ids[:5]]
    if not late:
        world.ledger.record_outcomes(events)
    world.clock.at += 101 * DAY
    evidence = world.tick().evidence
    if late:
        world.ledger.record_outcomes(events)
        evidence = world.tick().evidence
    assert evidence.paired.n == 0, "nothing has reached the horizon"
    r, hazard_a, hazard_b = math.log(math.log(0.7) / math.log(0.9)), -math.log(0.9), -math.log(0.7)
    exposure = 195 * 0.125 + 5 * 50 / 800
    expected = [5 * math.log1p(-lam * r) + lam * exposure * (hazard_b - hazard_a) for lam in (0.12, 0.24, 0.45)]
    assert evidence.hazard.harm.log_wealth == pytest.approx(expected)
    assert evidence.hazard.events == (5, 0, 0, 0, 0)
    _replayed(world)


def test_a_challenger_wrong_about_survival_is_rolled_back_before_the_horizon(world: World) -> None:
    world.open(
        horizon_days=800.0, policy=_policy(world, follow_up="as_reported", reporting_lag_days=0.0, constant_run=1000)
    )
    world.until("shadow")
    _shadow(world, [(0.1, 0.5, None)] * 300)
    world.clock.at += 250 * DAY
    result = world.tick()
    assert (result.decision.action, result.decision.rule) == (Action.ROLLBACK, "hazard_harm")
