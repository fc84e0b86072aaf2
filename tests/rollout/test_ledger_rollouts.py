"""Rollouts, decisions and intents: written under a lease, in a fixed order, with the past intact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from clinical_assets.foundation.canonical import sha256_json
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.entries import (
    Fence,
    IntentStep,
    LedgerError,
    Rollout,
    RolloutConflict,
    StaleLease,
    Transition,
)
from clinical_assets.rollout.ledger import Ledger

CHAMPION, CHALLENGER, THIRD = "a" * 64, "b" * 64, "c" * 64
POLICY = {"ramp": [5, 10], "promotion_alpha": 0.05}


@pytest.fixture
def ledger(database_url: str) -> Ledger:
    engine = engine_for(database_url)
    create_tables(engine)
    return Ledger(engine, wall=lambda: 1_000.0)


@pytest.fixture
def rollout(ledger: Ledger) -> Rollout:
    return ledger.open_rollout("colon", CHAMPION, CHALLENGER, POLICY, "trainer", 100.0)


@pytest.fixture
def fence(ledger: Ledger) -> Fence:
    token = ledger.acquire_lease("route:colon", "controller", 30.0)
    assert token is not None
    return Fence("route:colon", token)


def _transition(**changes: Any) -> Transition:
    fields: dict[str, Any] = {
        "rollout_id": "colon-0001",
        "cancer": "colon",
        "action": "ADVANCE",
        "stage": "5",
        "weight": 5,
    }
    return Transition(**fields | {"reason": "proven", "rule": "advance", "actor": "controller", "at": 200.0} | changes)


def test_a_rollout_opens_in_shadow_with_its_policy_locked(ledger: Ledger, rollout: Rollout) -> None:
    assert rollout.id == "colon-0001"
    assert rollout.policy_digest == sha256_json(POLICY)
    assert ledger.rollout("colon") == ledger.rollout_by_id("colon-0001") == rollout
    progress = ledger.progress(rollout.id)
    assert (progress.stage, progress.weight, progress.is_open, progress.entered_at) == ("shadow", 0, True, 100.0)
    assert progress.last is None


def test_opening_the_same_rollout_again_returns_it(ledger: Ledger, rollout: Rollout) -> None:
    assert ledger.open_rollout("colon", CHAMPION, CHALLENGER, POLICY, "someone", 999.0) == rollout
    assert ledger.rollouts() == [rollout]


@pytest.mark.parametrize(
    "other",
    [("colon", CHAMPION, THIRD, POLICY), ("colon", CHAMPION, CHALLENGER, {**POLICY, "promotion_alpha": 0.5})],
)
def test_a_second_open_rollout_of_a_cancer_type_is_refused(ledger: Ledger, rollout: Rollout, other: Any) -> None:
    with pytest.raises(RolloutConflict, match="colon-0001 of challenger bbbbbbbbbbbb is still open"):
        ledger.open_rollout(*other, "trainer", 300.0)
    assert ledger.open_rollout("breast", CHAMPION, THIRD, POLICY, "trainer", 300.0).id == "breast-0001"


def test_a_model_cannot_challenge_itself(ledger: Ledger) -> None:
    with pytest.raises(RolloutConflict, match="same model"):
        ledger.open_rollout("colon", CHAMPION, CHAMPION, POLICY, "trainer", 1.0)


def test_unknown_rollouts_are_named(ledger: Ledger) -> None:
    assert ledger.rollout("colon") is None
    with pytest.raises(LedgerError, match="'colon-0007'"):
        ledger.progress("colon-0007")


def test_a_transition_is_kept_with_everything_it_rests_on(ledger: Ledger, rollout: Rollout, fence: Fence) -> None:
    written = _transition(
        observed_weight=4.9,
        n={"champion": 950, "challenger": 50},
        statistics={"harm": {"e": 0.1 + 0.2}},
        interval=(-0.01, 0.02),
        input_sha256="f" * 64,
        intent_id="i",
        evidence={"state": [1.0]},
    )
    stored = ledger.append_transition(written, fence)
    assert stored.transition == written
    assert (stored.policy_digest, stored.champion, stored.challenger) == (rollout.policy_digest, CHAMPION, CHALLENGER)
    assert (stored.fencing_token, stored.recorded_at) == (fence.token, 1_000.0)
    assert ledger.transitions(rollout.id) == [stored]


def test_state_follows_from_the_transitions(ledger: Ledger, rollout: Rollout, fence: Fence) -> None:
    ledger.append_transition(_transition(action="HOLD", stage="shadow", weight=0, at=150.0), fence)
    assert ledger.progress(rollout.id).entered_at == 100.0
    first = ledger.append_transition(_transition(at=200.0), fence)
    second = ledger.append_transition(_transition(action="HOLD", weight=0, at=300.0), fence)
    assert second.previous == first.entry_hash
    progress = ledger.progress(rollout.id)
    assert (progress.stage, progress.weight, progress.entered_at, progress.last) == ("5", 0, 200.0, second)


def test_a_closed_rollout_takes_no_more_decisions_and_makes_room(
    ledger: Ledger, rollout: Rollout, fence: Fence
) -> None:
    ledger.append_transition(_transition(action="ROLLBACK", stage="shadow", weight=0, is_open=False), fence)
    with pytest.raises(RolloutConflict, match="is closed"):
        ledger.append_transition(_transition(), fence)
    assert ledger.rollout("colon") is None
    assert ledger.rollouts(active=False) == [rollout]
    second = ledger.open_rollout("colon", CHAMPION, CHALLENGER, POLICY, "trainer", 400.0)
    assert second.id == "colon-0002"
    assert ledger.rollouts(active=True) == [second]
    assert ledger.progress("colon-0002").stage == "shadow"


@pytest.mark.parametrize("weight", [-1, 101, 5.0, "5"])
def test_weights_are_whole_per_cents(ledger: Ledger, rollout: Rollout, fence: Fence, weight: Any) -> None:
    with pytest.raises(LedgerError, match=r"not an integer in 0\.\.100"):
        ledger.append_transition(_transition(weight=weight), fence)


def test_a_transition_belongs_to_its_rollouts_cancer_type(ledger: Ledger, rollout: Rollout, fence: Fence) -> None:
    with pytest.raises(LedgerError, match="belongs to colon"):
        ledger.append_transition(_transition(cancer="breast"), fence)


def test_a_stale_token_writes_nothing(ledger: Ledger, rollout: Rollout, fence: Fence) -> None:
    intent = ledger.begin_intent(rollout.id, "colon", {"weight": 5}, 200.0, fence)
    ledger.wall = lambda: 2_000.0  # the lease has expired
    assert ledger.acquire_lease(fence.name, "successor", 30.0) == fence.token + 1
    for write in (
        lambda: ledger.append_transition(_transition(), fence),
        lambda: ledger.advance_intent(intent.id, IntentStep.WRITTEN, 201.0, fence),
        lambda: ledger.begin_intent(rollout.id, "colon", {"weight": 10}, 201.0, fence),
        lambda: ledger.renew_lease(fence, 30.0),
    ):
        with pytest.raises(StaleLease, match=rf"token {fence.token} is stale, .* successor"):
            write()
    assert ledger.transitions(rollout.id) == []
    assert ledger.pending_intents() == [intent]


def test_an_edited_decision_is_detected(ledger: Ledger, rollout: Rollout, fence: Fence) -> None:
    ledger.append_transition(_transition(), fence)
    ledger.append_transition(_transition(action="HOLD"), fence)
    assert ledger.verify_chain().ok
    triggers = {
        "sqlite": "DROP TRIGGER transitions_no_update",
        "postgresql": "DROP TRIGGER transitions_no_change ON transitions",
    }
    with ledger.engine.begin() as connection:
        connection.execute(text(triggers[connection.dialect.name]))
        connection.execute(text("UPDATE transitions SET rule = 'harm' WHERE seq = 1"))
    state = ledger.verify_chain()
    assert not state.ok
    assert "transitions row 1" in state.problem


def test_an_intent_goes_through_its_steps(ledger: Ledger, rollout: Rollout, fence: Fence) -> None:
    intent = ledger.begin_intent(rollout.id, "colon", {"weight": 5}, 200.0, fence)
    assert (intent.step, intent.route, intent.begun_at) == (IntentStep.INTENT, {"weight": 5}, 200.0)
    written = ledger.advance_intent(intent.id, IntentStep.WRITTEN, 201.0, fence, {"version": 7})
    assert written == replace(intent, step=IntentStep.WRITTEN, at=201.0, detail={"version": 7})
    assert ledger.advance_intent(intent.id, IntentStep.WRITTEN, 205.0, fence) == written
    assert ledger.pending_intents("colon") == [written]
    assert ledger.pending_intents("breast") == []
    ledger.advance_intent(intent.id, IntentStep.OBSERVED, 202.0, fence)
    ledger.advance_intent(intent.id, IntentStep.DONE, 203.0, fence)
    assert ledger.pending_intents() == []


def test_intents_do_not_skip_or_overlap(ledger: Ledger, rollout: Rollout, fence: Fence) -> None:
    intent = ledger.begin_intent(rollout.id, "colon", {"weight": 5}, 200.0, fence)
    with pytest.raises(LedgerError, match="stands at intent, observed cannot follow"):
        ledger.advance_intent(intent.id, IntentStep.OBSERVED, 201.0, fence)
    with pytest.raises(LedgerError, match="unfinished"):
        ledger.begin_intent(rollout.id, "colon", {"weight": 10}, 201.0, fence)
    ledger.advance_intent(intent.id, IntentStep.REVERTED, 202.0, fence)
    with pytest.raises(LedgerError, match="stands at reverted"):
        ledger.advance_intent(intent.id, IntentStep.WRITTEN, 203.0, fence)
    again = ledger.begin_intent(rollout.id, "colon", {"weight": 5}, 204.0, fence)
    assert again.id != intent.id
    with pytest.raises(LedgerError, match="no intent 'nowhere'"):
        ledger.advance_intent("nowhere", IntentStep.WRITTEN, 205.0, fence)
