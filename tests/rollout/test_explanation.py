"""`explain` says what a clinician asks: where it stands, how near harm is, what is missing, who must sign."""

from __future__ import annotations

from clinical_assets.rollout.explanation import MEANINGS, explain
from clinical_assets.rollout.guardrails import NULLS

from .conftest import DAY, World


def explained(world: World):
    progress = world.ledger.progress(world.rollout_id)
    return explain(progress, world.tick(dry_run=True).decision if progress.is_open else None)


def test_every_test_that_can_roll_back_has_a_meaning_in_words() -> None:
    assert MEANINGS.keys() == NULLS.keys()


def test_in_shadow_it_names_the_missing_proof_and_the_later_signature(world: World) -> None:
    world.open()
    world.until("shadow")
    world.treat(300)
    world.tick()
    found = explained(world)
    assert (found.stage, found.weight, found.next_stage) == ("shadow", 0, "5")
    assert "nobody sees its answers" in found.now
    assert any(reason.startswith("non-inferiority not proven") for reason in found.missing)
    assert "not proven yet on 300 patients" in found.promotion
    assert "other than trainer" in found.signature
    assert "before it answers all patients" in found.signature
    assert all(0 <= test.way < 1 and not test.said.startswith("REACHED") for test in found.tests)


def test_in_the_ramp_it_names_the_days_and_requests_that_are_missing(world: World) -> None:
    world.to_ramp()
    world.clock.at += 0.5 * DAY
    found = explained(world)
    assert "0.5 of 1 days in this stage" in found.missing
    assert any("challenger requests in this stage" in reason for reason in found.missing)
    assert "answers 5 % of the patients" in found.now


def test_after_a_rollback_it_shows_the_test_that_reached_its_limit(world: World) -> None:
    world.to_ramp()
    while world.ledger.progress(world.rollout_id).is_open:
        world.treat(200, errors=5, label=False)
        world.tick()
    found = explained(world)
    assert (found.stage, found.weight, found.missing, found.signature) == ("rolled_back", 0, (), "")
    assert next(test.name for test in found.tests if test.said.startswith("REACHED")).startswith("error_")
