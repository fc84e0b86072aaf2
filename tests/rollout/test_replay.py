"""A rollout's decisions can be taken again from the ledger alone; a changed record or log is found."""

from __future__ import annotations

import json

import pytest

from clinical_assets.rollout.evidence_log import EvidenceMismatch
from clinical_assets.rollout.replay import replay
from clinical_assets.rollout.tables import transitions

from .conftest import CHALLENGER, DAY, World


def unlocked(world: World, table: str) -> None:
    with world.engine.begin() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER {table}_no_update")


@pytest.fixture
def ramped(world: World) -> World:
    """Shadow, two ramp stages, an outage of telemetry, then a rollback on errors."""
    world.to_ramp()
    for _ in range(2):
        world.clock.at += 1.5 * DAY
        world.treat(600)
        world.tick()
        world.tick()
    world.telemetry.missing = "the exporter is down"
    world.tick()
    world.tick(seconds=200)
    world.telemetry.missing = ""
    world.tick()
    for _ in range(20):
        world.treat(100, errors=60, label=False)
        if world.tick().stage == "rolled_back":
            return world
    raise AssertionError("errors did not roll back")


def test_every_decision_of_a_rollout_replays_to_the_same_bits(ramped: World) -> None:
    found = replay(ramped.ledger, ramped.rollout_id)
    assert {"ADVANCE", "HOLD", "ROLLBACK"} <= {again.stored.transition.action for again in found}
    assert [again.number for again in found] == list(range(1, len(ramped.rows()) + 1))
    assert {again.number: again.differences for again in found if again.differences} == {}


def test_a_person_s_rollback_and_an_interrupted_one_replay(world: World) -> None:
    world.to_ramp()
    world.router.down = True
    assert world.roll_back("two unexpected scores").stage != "rolled_back"
    world.router.down = False
    assert world.tick().stage == "rolled_back"
    assert all(not again.differences for again in replay(world.ledger, world.rollout_id))


def test_a_decision_row_that_was_edited_differs(ramped: World) -> None:
    unlocked(ramped, "transitions")
    row = ramped.rows()[2]
    with ramped.engine.begin() as connection:
        stored = connection.execute(transitions.select().where(transitions.c.seq == row.seq)).one()
        body = json.loads(stored.body)
        body["statistics"]["guardrails"]["error_ratio"]["e"] += 1e-12
        changed = transitions.update().where(transitions.c.seq == row.seq).values(body=json.dumps(body))
        connection.execute(changed)
    different = [again for again in replay(ramped.ledger, ramped.rollout_id) if again.differences]
    assert [again.number for again in different] == [3]
    assert different[0].differences[0].startswith("guardrails: ")


def test_a_prediction_that_was_edited_is_found(ramped: World) -> None:
    unlocked(ramped, "predictions")
    with ramped.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE predictions SET risk = risk / 2 WHERE seq = "
            f"(SELECT min(seq) FROM predictions WHERE digest = '{CHALLENGER}')"
        )
    with pytest.raises(EvidenceMismatch, match="no longer gives the state recorded"):
        replay(ramped.ledger, ramped.rollout_id)
