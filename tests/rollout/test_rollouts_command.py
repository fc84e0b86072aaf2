"""`clinical rollouts`, `explain` and `replay` on a state directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from clinical_assets.cli import app

from .conftest import World


@pytest.fixture
def told(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A rollout that was rolled back by a person, beside one that is open."""
    monkeypatch.setattr("clinical_assets.commands.rollouts.console._width", 220)
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path))
    monkeypatch.setenv("CLINICAL_DATABASE_URL", f"sqlite:///{tmp_path / 'ledger.db'}")
    world.open()
    world.until("shadow")
    world.treat(50)
    world.tick()
    world.roll_back("two unexpected scores")
    world.plan = world.plan.model_copy(update={"challenger": "c" * 64})
    world.open()
    return world


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == code, done.output
    return done.output


def test_the_table_shows_open_rollouts_and_on_request_all(told: World) -> None:
    shown = json.loads(run("rollouts", "--json"))
    assert [(row["rollout"], row["open"], row["last_decision"]) for row in shown] == [("colon-0002", True, None)]
    every = json.loads(run("rollouts", "--all", "--json"))
    assert [row["stage"] for row in every] == ["rolled_back", "shadow"]
    assert every[0]["last_decision"]["reason"] == "two unexpected scores"
    assert "waiting for the first tick" in run("rollouts")
    assert "colon-0001" not in run("rollouts")
    assert "colon-0001" in run("rollouts", "--all")


def test_an_explanation_names_reason_evidence_and_person(told: World) -> None:
    said = run("explain", "colon-0001")
    assert "two unexpected scores (operator, dr_mueller)" in said
    assert json.loads(run("explain", "colon-0001", "--json"))["stage"] == "rolled_back"
    assert "must sign" in run("explain", "colon")


def test_a_replay_that_agrees_ends_with_0_and_one_that_differs_with_1(told: World) -> None:
    assert "2 decisions replayed, 0 different" in run("replay", "colon-0001")
    assert "1 decisions replayed, 0 different" in run("replay", "colon-0001", "--decision", "2")
    with told.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER outcomes_no_update")
        connection.exec_driver_sql("UPDATE outcomes SET label = 1 - label")
    assert "DIFFERENT: colon: rollout colon-0001" in run("replay", "colon-0001", code=1)
