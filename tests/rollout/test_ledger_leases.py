"""At most one holder at a time, also among processes; tokens only rise."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.entries import Fence, StaleLease
from clinical_assets.rollout.ledger import Ledger

CONTENDER = """
import sys
from clinical_assets.foundation.database import engine_for
from clinical_assets.rollout.entries import Fence
from clinical_assets.rollout.ledger import Ledger
ledger = Ledger(engine_for(sys.argv[1]))
won = 0
while won < 10:
    token = ledger.acquire_lease("route:colon", sys.argv[2], 60.0)
    if token is not None:
        print(token, flush=True)
        ledger.release_lease(Fence("route:colon", token))
        won += 1
"""


class Wall:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def ledger(database_url: str, wall: Wall) -> Ledger:
    engine = engine_for(database_url)
    create_tables(engine)
    return Ledger(engine, wall)


def test_a_held_lease_is_refused_to_everyone_until_it_expires(ledger: Ledger, wall: Wall) -> None:
    assert ledger.acquire_lease("route:colon", "one", 10.0) == 1
    assert ledger.acquire_lease("route:colon", "two", 10.0) is None
    assert ledger.acquire_lease("route:colon", "one", 10.0) is None
    assert ledger.acquire_lease("route:breast", "two", 10.0) == 1
    wall.seconds += 10.0
    assert ledger.acquire_lease("route:colon", "two", 10.0) == 2


def test_a_renewed_lease_lasts_from_the_renewal(ledger: Ledger, wall: Wall) -> None:
    fence = Fence("route:colon", ledger.acquire_lease("route:colon", "one", 10.0) or 0)
    wall.seconds += 9.0
    ledger.renew_lease(fence, 10.0)
    wall.seconds += 9.0
    assert ledger.acquire_lease("route:colon", "two", 10.0) is None


def test_a_late_holder_that_nobody_overtook_may_renew(ledger: Ledger, wall: Wall) -> None:
    fence = Fence("route:colon", ledger.acquire_lease("route:colon", "one", 10.0) or 0)
    wall.seconds += 60.0
    ledger.renew_lease(fence, 10.0)
    assert ledger.acquire_lease("route:colon", "two", 10.0) is None


def test_a_released_lease_is_free_and_its_token_is_dead(ledger: Ledger) -> None:
    fence = Fence("route:colon", ledger.acquire_lease("route:colon", "one", 10.0) or 0)
    ledger.release_lease(fence)
    with pytest.raises(StaleLease, match="held by nobody"):
        ledger.renew_lease(fence, 10.0)
    assert ledger.acquire_lease("route:colon", "two", 10.0) == fence.token + 1


def test_releasing_late_does_not_take_the_lease_from_the_successor(ledger: Ledger, wall: Wall) -> None:
    fence = Fence("route:colon", ledger.acquire_lease("route:colon", "one", 10.0) or 0)
    wall.seconds += 11.0
    ledger.acquire_lease("route:colon", "two", 10.0)
    ledger.release_lease(fence)
    assert ledger.acquire_lease("route:colon", "three", 10.0) is None


def test_a_token_for_a_lease_that_never_was_is_refused(ledger: Ledger) -> None:
    with pytest.raises(StaleLease, match="held by nobody"):
        ledger.renew_lease(Fence("route:unknown", 1), 10.0)


def test_no_two_processes_ever_get_the_same_token(ledger: Ledger) -> None:
    url = ledger.engine.url.render_as_string(hide_password=False)
    contenders = [
        subprocess.Popen([sys.executable, "-c", CONTENDER, url, name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    tokens = [int(token) for contender in contenders for token in contender.communicate(timeout=60)[0].split()]
    assert sorted(tokens) == list(range(1, 31))
