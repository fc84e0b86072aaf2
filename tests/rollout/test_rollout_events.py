"""A rollout of a model of simulated data says so in every event: the status is part of the plan that is locked."""

from __future__ import annotations

import base64
import re

import pytest

from clinical_assets.trials.data_status import STAMP
from sensors.rollout import event

from .conftest import World


@pytest.mark.parametrize(("status", "stamped"), [("simulated", True), ("real", False), ("real-thin", False)])
def test_every_event_of_a_rollout_carries_the_data_status(world: World, status: str, stamped: bool) -> None:
    world.open(data_status=status)
    world.until("shadow")
    world.roll_back()
    assert len(world.rows()) == 2
    for row in world.rows():
        shown = event(world.ledger, row).metadata
        assert shown["data_status"].value == status
        picture = re.search(r"base64,(.*)\)", str(shown["traffic"].value))
        assert picture is not None
        assert (STAMP.encode() in base64.b64decode(picture[1])) == stamped


def test_the_status_is_part_of_the_locked_plan(world: World) -> None:
    world.open(data_status="simulated")
    assert world.ledger.rollout_by_id(world.rollout_id).policy["data_status"] == "simulated"
    assert world.plan.digest != world.plan.model_copy(update={"data_status": "real"}).digest
