"""The way of a challenger through all stages, and everything that stops it, on a real ledger."""

from __future__ import annotations

import pytest

from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.controller import Action
from clinical_assets.rollout.entries import Arm, Outcome, Prediction, RolloutConflict
from clinical_assets.rollout.evidence_log import EvidenceLog, EvidenceMismatch
from clinical_assets.rollout.opening import open_rollout
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.routing import RouteRejected, RouteState, RoutingUnavailable
from clinical_assets.rollout.tables import predictions
from clinical_assets.rollout.tick import TickStatus

from .conftest import CANCER, CHALLENGER, CHAMPION, DAY, NEWER, World


def test_an_equal_model_goes_all_the_way(any_world: World) -> None:
    any_world.to_ramp()
    for stage, following in (("5", "10"), ("10", "25"), ("25", "50"), ("50", "approval")):
        assert any_world.share() == int(stage)
        any_world.treat(500)
        waiting = any_world.tick()
        assert waiting.decision.action is Action.CONTINUE
        assert "days in this stage" in waiting.decision.reason
        any_world.clock.at += DAY
        assert any_world.tick().stage == following
    assert any_world.tick().decision.reason.startswith("waits for a signed approval")
    assert any_world.share() == 50
    any_world.authority.approved_by = "dr_curie"
    promoted = any_world.tick()
    assert (promoted.decision.action, promoted.decision.actor, any_world.share()) == (Action.PROMOTE, "dr_curie", 100)
    assert any_world.router.read(CANCER).champion == CHAMPION, "the old champion stays loaded during the watch"
    any_world.treat(30)
    any_world.clock.at += DAY
    assert any_world.tick().stage == "watch"
    any_world.clock.at += 2 * DAY
    assert any_world.tick().stage == "done"
    assert any_world.router.read(CANCER).weights == {CHALLENGER: 100}
    assert [r.transition.stage for r in any_world.rows()] == [
        "shadow", "5", "10", "25", "50", "approval", "100", "watch", "done",
    ]  # fmt: skip
    assert any_world.tick().status is TickStatus.CLOSED
    assert any_world.ledger.verify_chain().ok
    assert EvidenceLog(any_world.engine).verify_chain().ok
    assert EvidenceLog(any_world.engine).replay(any_world.rollout_id, any_world.plan) == EvidenceLog(
        any_world.engine
    ).current(any_world.rollout_id, any_world.plan)


def test_a_decision_row_says_everything(world: World) -> None:
    world.to_ramp()
    row = world.rows()[-1]
    t = row.transition
    assert (t.action, t.stage, t.rule, t.actor, t.weight, t.observed_weight) == (
        "ADVANCE", "5", "evidence", "controller", 5, 5.0,
    )  # fmt: skip
    assert (row.champion, row.challenger) == (CHAMPION, CHALLENGER)
    assert row.policy_digest == world.ledger.rollout_by_id(world.rollout_id).policy_digest
    proof = t.statistics["non_inferiority"]
    assert proof["proven"]
    assert proof["e"] >= proof["threshold"] == 20
    assert all(rail["null"] for rail in t.statistics["guardrails"].values())
    assert t.n["pairs_with_outcome"] == proof["n"]
    assert t.n["champion_requests"] > 0
    assert t.interval[0] < t.statistics["paired_difference"]["mean"] < t.interval[1] < 3 * world.plan.margin
    assert len(t.input_sha256) == len(row.previous) == len(row.entry_hash) == 64
    assert t.intent_id


def test_a_worse_model_is_rolled_back_in_shadow_by_its_outcomes(world: World) -> None:
    world.open()
    world.until("shadow")
    for _ in range(10):
        world.treat(150, worse=50)
        result = world.tick()
        if result.decision.action is Action.ROLLBACK:
            break
    assert result.decision.rule == "paired_harm"
    assert result.stage == "rolled_back"
    assert world.router.read(CANCER) == RouteState(CANCER, world.rollout_id, CHAMPION)


def test_outcome_harm_in_the_split_rolls_back(world: World) -> None:
    world.to_ramp()
    for _ in range(4):
        world.treat(500)
        world.clock.at += DAY
        world.tick()
    assert world.share() == 50
    for _ in range(16):
        world.treat(500, worse=50)
        result = world.tick()
        if result.decision.action is Action.ROLLBACK:
            break
    assert result.decision.rule == "split_harm"
    assert world.share() == 0


def test_errors_in_traffic_roll_back_and_the_delay_is_recorded(world: World) -> None:
    world.to_ramp()
    world.treat(500)
    world.tick()
    healthy_at = world.wall.at
    for _ in range(20):
        world.treat(200, errors=3)
        result = world.tick()
        if result.decision.action is Action.ROLLBACK:
            break
    assert result.decision.rule in ("error_ratio", "error_objective")
    delay = result.transition.transition.statistics["rollback"]
    assert delay["first_bad_sample_at"] == healthy_at, "the error happened after the last healthy sample"
    assert delay["seconds_to_share_zero"] == pytest.approx(delay["share_zero_at"] - healthy_at)
    assert delay["share_zero_at"] == world.wall.at
    assert world.share() == 0


@pytest.mark.parametrize("where", ["shadow", "5"])
def test_one_invalid_output_rolls_back_at_once(world: World, where: str) -> None:
    if where == "5":
        world.to_ramp()
        world.ledger.record_predictions(
            [Prediction("bad", CHALLENGER, CANCER, world.rollout_id, "x", Arm.CHALLENGER, 0.05, None, 1.0, "invalid")]
        )
    else:
        world.open()
        world.until("shadow")
        world.treat(5, invalid=1)
    assert world.tick().decision.rule == "invalid_output"
    assert world.share() == 0


def test_a_constant_output_rolls_back(world: World) -> None:
    world.to_ramp()
    rows = [
        Prediction(f"c{i}", CHALLENGER, CANCER, world.rollout_id, f"pc{i}", Arm.CHALLENGER, 0.05, 0.5, 1.0)
        for i in range(50)
    ]
    world.ledger.record_predictions(rows[:49])
    assert world.tick().decision.action is not Action.ROLLBACK
    world.ledger.record_predictions(rows[49:])
    assert world.tick().decision.rule == "constant_output"


def test_a_late_label_rolls_back_after_promotion_and_counts_for_the_arm_of_then(world: World) -> None:
    world.to_ramp()
    late: list[str] = []
    for _ in range(4):
        late += world.treat(500, worse=50, label=False)
        world.clock.at += DAY
        world.tick()
    late += world.treat(5000, worse=50, label=False)
    world.authority.approved_by = "dr_curie"
    assert world.tick().stage == "100"
    outcomes = world.rng.uniform(size=len(late)) < 0.03
    world.ledger.record_outcomes(
        [Outcome(q, CANCER, world.clock.at, label=int(y)) for q, y in zip(late, outcomes, strict=True)]
    )
    result = world.tick()
    assert (result.decision.action, result.decision.rule) == (Action.ROLLBACK, "split_harm")
    assert world.router.read(CANCER).weights == {CHAMPION: 100}


def test_a_model_that_is_slightly_worse_never_leaves_shadow_and_retires_at_the_deadline(world: World) -> None:
    world.open()
    world.until("shadow")
    world.treat(600, worse=5)
    assert "non-inferiority not proven" in world.tick().decision.reason
    world.clock.at += 366 * DAY
    assert world.tick().decision.rule == "deadline"


def test_missing_outcomes_forbid_an_advance(world: World) -> None:
    world.open()
    world.until("shadow")
    world.treat(600, label=False)
    world.treat(1600)
    result = world.tick()
    assert "27% of the mature outcomes are missing" in result.decision.reason
    assert result.stage == "shadow"


def test_survival_outcomes_count_only_at_the_horizon(world: World) -> None:
    world.open(horizon_days=365.0)
    world.until("shadow")
    ids = world.treat(100, label=False)
    world.ledger.record_outcomes([Outcome(q, CANCER, world.clock.at, time=30.0, event=1) for q in ids[:40]])
    assert world.tick().evidence.paired.n == 0
    world.clock.at += 364 * DAY
    assert world.tick().evidence.matured == 0
    world.clock.at += 2 * DAY
    evidence = world.tick().evidence
    assert (evidence.matured, evidence.paired.n) == (100, 40)
    world.ledger.record_outcomes([Outcome(q, CANCER, world.clock.at, time=400.0, event=0) for q in ids[40:]])
    assert world.tick().evidence.paired.n == 100


def test_a_patient_counts_once_per_kind_of_evidence(world: World) -> None:
    world.open()
    world.until("shadow")
    entries, labels = [], []
    for request in range(6):
        for digest, arm, risk in ((CHAMPION, Arm.CHAMPION, 0.2), (CHALLENGER, Arm.SHADOW, 0.3 + request / 100)):
            entries.append(Prediction(f"r{request}", digest, CANCER, world.rollout_id, "one", arm, 0.0, risk, 1.0))
        labels.append(Outcome(f"r{request}", CANCER, 2.0, label=0))
    world.ledger.record_predictions(entries)
    world.ledger.record_outcomes(labels)
    assert world.tick().evidence.paired.n == 1


def test_blind_holds_then_steps_down_once_per_limit(world: World) -> None:
    world.to_ramp()
    for _ in range(2):
        world.treat(500)
        world.clock.at += DAY
        world.tick()
    assert world.share() == 25
    world.telemetry.missing = "Envoy's admin port does not answer"
    held = world.tick()
    assert (held.decision.action, held.decision.rule, world.share()) == (Action.HOLD, "blind", 25)
    assert world.tick().transition is None, "one row for one hold"
    assert world.tick(130).stage == "10"
    assert world.share() == 10
    assert world.tick().stage == "10"
    assert world.tick(130).stage == "5"
    world.telemetry.missing = ""
    resumed = world.tick()
    assert (resumed.decision.action, resumed.transition is not None) == (Action.CONTINUE, True)


def test_ambiguous_telemetry_is_a_configuration_error(world: World) -> None:
    world.to_ramp()
    world.telemetry.broken = "two series where one is expected"
    assert world.tick().decision.rule == "telemetry_config"


def test_a_counter_reset_counts_nothing_twice(world: World) -> None:
    world.open()
    world.until("shadow")
    world.telemetry.counters = {CHAMPION: [100, 1], CHALLENGER: [100, 1]}
    world.tick()
    world.telemetry.counters = {CHAMPION: [150, 1], CHALLENGER: [20, 1]}
    errors = world.tick().evidence.service.errors
    assert errors.challenger == (100 + 20, 1 + 1)
    assert errors.champion[0] == 150


def test_a_wrong_split_holds_but_a_guardrail_still_rolls_back(world: World) -> None:
    world.to_ramp()
    rows = [
        Prediction(f"s{i}", CHALLENGER, CANCER, world.rollout_id, f"ps{i}", Arm.CHALLENGER, 0.05, i / 100, 1.0)
        for i in range(60)
    ]
    world.ledger.record_predictions(rows)
    held = world.tick()
    assert (held.decision.action, held.decision.rule) == (Action.HOLD, "sample_ratio")
    world.telemetry.add(CHALLENGER, 60, 40)
    assert world.tick().decision.action is Action.ROLLBACK


def test_a_verdict_that_fails_later_is_weight_zero_within_one_tick(world: World) -> None:
    world.to_ramp()
    world.authority.scopes[CHALLENGER] = Scope.NONE
    result = world.tick()
    assert (result.decision.rule, world.share()) == ("verdict", 0)


def test_a_shadow_verdict_keeps_the_challenger_in_shadow(world: World) -> None:
    world.authority.scopes[CHALLENGER] = Scope.SHADOW
    world.open()
    world.until("shadow")
    world.treat(2500)
    result = world.tick()
    assert result.stage == "shadow"
    assert "traffic is needed" in result.decision.reason


def test_guardrails_act_while_an_approval_is_awaited(world: World) -> None:
    world.to_ramp()
    for _ in range(4):
        world.treat(500)
        world.clock.at += DAY
        world.tick()
    assert world.tick().stage == "approval"
    world.treat(200, errors=60)
    assert world.tick().decision.action is Action.ROLLBACK
    assert world.share() == 0


def test_a_person_rolls_back_without_any_evidence_or_verdict(world: World) -> None:
    world.to_ramp()
    world.authority.scopes.clear()
    world.telemetry.missing = "down"
    result = world.roll_back("implausible scores on ward 3")
    assert result.stage == "rolled_back"
    assert (result.transition.transition.actor, result.transition.transition.rule) == ("dr_mueller", "operator")
    assert world.share() == 0


def test_a_rolled_back_digest_needs_the_cool_down_and_a_person(world: World) -> None:
    world.to_ramp()
    world.roll_back()
    with pytest.raises(RolloutConflict, match=r"7\.0 days left"):
        world.open()
    world.clock.at += 8 * DAY
    with pytest.raises(RolloutConflict, match="a person"):
        world.open()
    again = open_rollout(world.ledger, world.plan, "trainer", world.clock.at, person="dr_curie")
    assert again.id != world.rollout_id


def test_a_newer_model_supersedes_and_starts_from_nothing(world: World) -> None:
    world.to_ramp()
    newer = RolloutPlan.model_validate(world.plan.model_dump() | {"challenger": NEWER})
    with pytest.raises(RolloutConflict, match="still open"):
        open_rollout(world.ledger, newer, "trainer", world.clock.at)
    assert world.roll_back("newer model", "superseded").decision.rule == "superseded"
    assert world.share() == 0
    world.rollout_id = open_rollout(world.ledger, newer, "trainer", world.clock.at).id
    result = world.tick()
    assert (result.stage, result.evidence.paired.n, result.evidence.service.errors.challenger) == ("shadow", 0, (0, 0))


def test_an_unreachable_data_plane_is_no_advance_and_a_rollback_is_retried(world: World) -> None:
    world.to_ramp()
    world.router.down = True
    assert world.tick().decision.rule == "routing_unreachable"
    pending = world.roll_back()
    assert pending.status is TickStatus.UNFINISHED
    assert world.tick().status is TickStatus.UNFINISHED
    world.router.down = False
    assert world.tick().stage == "rolled_back"
    assert world.share() == 0
    assert world.rows()[-1].transition.actor == "dr_mueller"


def test_a_write_of_unknown_effect_is_finished_by_the_next_tick(world: World) -> None:
    world.open()
    world.router.fault, world.router.after_write = RoutingUnavailable("timeout"), True
    assert world.tick().status is TickStatus.UNFINISHED
    world.router.fault = None
    assert world.tick().stage == "shadow"
    assert len([w for w in world.router.writes if CHALLENGER in w]) == 1


def test_a_rejected_route_is_held_recorded_and_retried_later(world: World) -> None:
    world.open()
    world.router.fault = RouteRejected("cluster colon-bbbb is unknown")
    held = world.tick()
    assert (held.decision.action, held.decision.rule) == (Action.HOLD, "route_rejected")
    assert world.ledger.pending_intents(CANCER) == []
    world.router.fault = None
    assert world.tick().transition is None
    assert world.tick(61).stage == "shadow"


def test_a_hand_edited_weight_is_noticed_recorded_and_put_back(world: World) -> None:
    world.to_ramp()
    route = world.router.read(CANCER)
    world.router.serve(RouteState(CANCER, route.rollout_id, CHAMPION, CHALLENGER, 80))
    result = world.tick()
    assert (result.decision.rule, world.share()) == ("routing_mismatch", 5)
    assert "80 %" in result.transition.transition.reason
    for _ in range(4):
        world.tick()
        world.router.serve(RouteState(CANCER, route.rollout_id, CHAMPION, CHALLENGER, 80))
        world.tick()
    assert world.share() == 80, "no fight with another writer: after three restores it only holds"
    assert world.tick().decision.action is Action.HOLD


def test_a_lost_route_is_held_and_not_invented(world: World) -> None:
    world.to_ramp()
    world.router.state.unlink()
    assert world.tick().decision.rule == "routing_lost"
    assert world.router.read(CANCER) is None


def test_a_foreign_destination_in_our_route_is_named_and_left_alone(world: World) -> None:
    world.to_ramp()
    world.router.conflict = "route colon holds a third destination: canary"
    held = world.tick()
    assert (held.decision.action, held.decision.rule) == (Action.HOLD, "routing_mismatch")
    assert "canary" in held.decision.reason
    world.router.conflict = ""
    assert world.share() == 5


def test_a_foreign_model_in_our_route_stops_the_rollout_from_starting(world: World) -> None:
    world.router.serve(RouteState(CANCER, "", NEWER))
    world.open()
    result = world.tick()
    assert (result.decision.rule, world.router.read(CANCER).champion) == ("routing_mismatch", NEWER)


def test_a_preview_decides_alike_and_writes_nothing(world: World) -> None:
    world.open()
    world.until("shadow")
    world.treat(2500)
    before = (len(world.router.writes), len(world.rows()), EvidenceLog(world.engine).verify_chain().entries)
    preview = world.tick(dry_run=True)
    assert (len(world.router.writes), len(world.rows()), EvidenceLog(world.engine).verify_chain().entries) == before
    assert preview.status is TickStatus.PREVIEW
    decided = world.tick(0.0)
    assert preview.decision == decided.decision
    assert decided.decision.action is Action.ADVANCE


def test_a_first_model_needs_traffic_scope_and_an_approval_and_then_answers_everyone(world: World) -> None:
    world.router.state.unlink()
    world.open(champion="", champion_brier=0.0)
    assert world.until("approval").decision.rule == "opened"
    assert world.tick().decision.action is Action.CONTINUE
    assert world.router.read(CANCER) is None
    world.authority.approved_by = "dr_curie"
    assert world.tick().decision.action is Action.PROMOTE
    assert world.router.read(CANCER).weights == {CHALLENGER: 100}
    assert world.tick().stage == "done"


def test_a_first_model_without_traffic_scope_is_refused(world: World) -> None:
    world.router.state.unlink()
    world.authority.scopes[CHALLENGER] = Scope.SHADOW
    world.open(champion="", champion_brier=0.0)
    assert world.tick().decision.rule == "verdict"
    assert world.router.read(CANCER) is None


def test_evidence_does_not_depend_on_how_often_it_is_looked_at(world: World) -> None:
    world.open()
    world.until("shadow")
    log = EvidenceLog(world.engine)
    for _ in range(10):
        world.treat(30)
        world.tick()
    often = log.current(world.rollout_id, world.plan).paired
    assert log.replay(world.rollout_id, world.plan).paired == often
    with world.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER evidence_steps_no_delete")
        connection.exec_driver_sql("DELETE FROM evidence_steps")
        connection.exec_driver_sql("DELETE FROM evidence_states")
    world.tick()
    assert log.current(world.rollout_id, world.plan).paired == often, "one look gives the same bits as ten"


def test_a_lost_cache_is_recomputed_and_a_changed_ledger_is_noticed(world: World) -> None:
    world.open()
    world.until("shadow")
    world.treat(50)
    world.tick()
    log = EvidenceLog(world.engine)
    before = log.current(world.rollout_id, world.plan)
    with world.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE evidence_states SET state = '{}'")
    assert log.current(world.rollout_id, world.plan) == before
    with world.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER predictions_no_update")
        connection.execute(predictions.update().where(predictions.c.arm == Arm.SHADOW).values(risk=0.0))
    with pytest.raises(EvidenceMismatch, match="evidence step"):
        log.replay(world.rollout_id, world.plan)


def test_the_cost_of_a_tick_follows_the_new_rows(world: World) -> None:
    """Rows fetched by one tick's searches after 20 new patients, with 300 and with 3,000 patients behind them."""
    world.open()
    world.until("shadow")
    work = []
    for history in (300, 2700):
        world.treat(history)
        world.tick()
        world.treat(20)
        work.append(_database_steps(world))
    assert work[1] < 1.5 * work[0]


def _database_steps(world: World) -> int:
    """SQLite virtual-machine instructions (in hundreds) of reading one tick's evidence."""
    counted = [0]

    def count() -> int:
        counted[0] += 1
        return 0

    with world.engine.connect() as connection:
        raw = connection.connection.dbapi_connection
    raw.set_progress_handler(count, 100)
    world.tick()
    raw.set_progress_handler(None, 0)
    return counted[0]
