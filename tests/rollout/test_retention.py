"""Old predictions go; chains verify, decisions replay, open rollouts are whole, and nobody else can remove a row."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select, text

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout import retention
from clinical_assets.rollout.entries import Arm, Prediction
from clinical_assets.rollout.evidence_log import EvidenceLog, EvidenceMismatch, archived
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.replay import replay
from clinical_assets.rollout.tables import predictions

from .conftest import CHAMPION, DAY, World


def count(ledger: Ledger, rollout_id: str | None) -> int:
    with ledger.engine.connect() as connection:
        query = select(func.count()).select_from(predictions).where(predictions.c.rollout_id.is_(rollout_id))
        if rollout_id is not None:
            query = select(func.count()).select_from(predictions).where(predictions.c.rollout_id == rollout_id)
        return connection.execute(query).scalar_one()


@pytest.fixture
def keys(tmp_path) -> KeyStore:
    return KeyStore(tmp_path / "retention-keys")


@pytest.fixture
def closed(world: World) -> World:
    """A rollout that ramped and was rolled back, with predictions of others between its own."""
    world.to_ramp()
    world.treat(300)
    world.ledger.record_predictions(
        [Prediction(f"alone-{n}", CHAMPION, "other", None, f"{n:064x}", Arm.CHAMPION, 0.0, 0.5, 0.0) for n in range(9)]
    )
    world.tick()
    world.treat(50)
    assert world.roll_back("an unexpected score").stage == "rolled_back"
    return world


def later(ledger: Ledger) -> float:
    with ledger.engine.connect() as connection:
        return connection.execute(select(func.max(predictions.c.recorded_at))).scalar_one() + 40 * DAY


def test_a_closed_rollout_is_forgotten_and_its_decisions_replay_and_the_chains_hold(
    closed: World, keys: KeyStore
) -> None:
    ledger, log, rollout_id = closed.ledger, AuditLog(closed.engine, keys), closed.rollout_id
    before = [(again.number, again.stored, again.differences) for again in replay(ledger, rollout_id)]
    entries = ledger.verify_chain(keys).entries
    now = later(ledger)
    plan = retention.plan_removal(ledger, 30, now)
    assert plan.rollouts == (rollout_id,)
    assert count(ledger, rollout_id) > 600, "a plan removes nothing"
    removed = retention.apply(ledger, log, plan, "j-doe", "retention period over", now)
    assert removed["predictions"] in (plan.predictions, plan.predictions - 1)
    assert removed["outcomes"] > 0
    assert count(ledger, rollout_id) <= 1, "the last row of the table may stay"
    assert count(ledger, None) == 0
    state = ledger.verify_chain(keys)
    assert (state.problem, state.entries) == ("", entries)
    assert [(again.number, again.stored, again.differences) for again in replay(ledger, rollout_id)] == before
    entry = log.entries(action="remove_predictions")[0]
    assert entry.payload["rows"] == removed
    assert retention.plan_removal(ledger, 30, now).rollouts == ()
    plan_of = RolloutPlan.model_validate(ledger.rollout_by_id(rollout_id).policy)
    with pytest.raises(EvidenceMismatch, match="removed by retention"):
        EvidenceLog(closed.engine).replay(rollout_id, plan_of)
    with closed.engine.begin() as connection:
        connection.execute(archived.update().values(state="{}"))
    with pytest.raises(EvidenceMismatch, match="was changed"):
        replay(ledger, rollout_id)


def test_the_log_goes_on_after_a_removal_and_a_second_one_joins_the_first(closed: World, keys: KeyStore) -> None:
    ledger, log = closed.ledger, AuditLog(closed.engine, keys)
    now = later(ledger)
    retention.apply(ledger, log, retention.plan_removal(ledger, 30, now), "j-doe", "over", now)
    fresh = [Prediction(f"n-{n}", CHAMPION, "other", None, f"{n:064x}", Arm.CHAMPION, 0.0, 0.5, 0.0) for n in range(5)]
    ledger.record_predictions(fresh)
    ledger.seal(keys.signer("platform"), "2026-01-01T00:00:00.000+00:00")
    assert ledger.verify_chain(keys).ok
    ledger.record_predictions([Prediction("last", CHAMPION, "other", None, "f" * 64, Arm.CHAMPION, 0.0, 0.5, 0.0)])
    now = later(ledger)
    removed = retention.apply(ledger, log, retention.plan_removal(ledger, 30, now), "j-doe", "over", now)
    assert removed["predictions"] >= 4
    assert ledger.verify_chain(keys).problem == ""


def test_both_databases_let_go_of_rows_and_refuse_again(database_url: str, keys: KeyStore) -> None:
    engine = engine_for(database_url)
    create_tables(engine)
    ledger = Ledger(engine, wall=lambda: 1.0)
    for start in (0, 10):
        ledger.record_predictions(
            [
                Prediction(f"r{n}", CHAMPION, "colon", None, f"{n:064x}", Arm.CHAMPION, 0.0, 0.5, 0.0, groups=("a=b",))
                for n in range(start, start + 10)
            ]
        )
    plan = retention.plan_removal(ledger, 30, 90 * DAY)
    removed = retention.apply(ledger, AuditLog(engine, keys), plan, "j-doe", "over", 90 * DAY)
    assert removed == {"predictions": 19, "outcomes": 0, "memberships": 19}
    assert ledger.verify_chain(keys).ok
    with engine.begin() as connection, pytest.raises(Exception, match="append-only"):
        connection.execute(text("DELETE FROM predictions"))


def test_an_open_rollout_is_never_touched(world: World, keys: KeyStore) -> None:
    world.to_ramp()
    rows = count(world.ledger, world.rollout_id)
    now = later(world.ledger)
    plan = retention.plan_removal(world.ledger, 30, now)
    assert (plan.rollouts, plan.predictions) == ((), 0)
    retention.apply(world.ledger, AuditLog(world.engine, keys), plan, "j-doe", "over", now)
    assert count(world.ledger, world.rollout_id) == rows
    assert all(not again.differences for again in replay(world.ledger, world.rollout_id))


def test_a_removal_nobody_signed_for_is_a_fault(closed: World, keys: KeyStore) -> None:
    ledger, now = closed.ledger, later(closed.ledger)
    retention.apply(ledger, AuditLog(closed.engine, keys), retention.plan_removal(ledger, 30, now), "j", "over", now)
    with closed.engine.begin() as connection, pytest.raises(Exception, match="append-only"):
        connection.execute(text("DELETE FROM predictions"))
    with closed.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER removals_no_update")
        connection.execute(text("UPDATE removals SET rows = rows + 1 WHERE seq = 1"))
    assert "removals row 1" in ledger.verify_chain(keys).problem


def test_a_rollout_that_does_not_replay_stays(closed: World) -> None:
    with closed.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER predictions_no_update")
        connection.execute(text("UPDATE predictions SET risk = 0.123 WHERE risk IS NOT NULL"))
    plan = retention.plan_removal(closed.ledger, 30, later(closed.ledger))
    assert plan.rollouts == ()
    assert closed.rollout_id in plan.kept
