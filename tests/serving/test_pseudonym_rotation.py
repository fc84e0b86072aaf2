"""A rotation changes no pseudonym of an open rollout; a destroyed key is gone; both are on record."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.entries import Fence, Transition
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.serving.pseudonym import Pseudonymiser
from clinical_assets.serving.pseudonym_rotation import destroy_retired, rotate

NOW = 1_800_000_000.0


class Place:
    def __init__(self, directory: Path) -> None:
        engine = engine_for(f"sqlite:///{directory / 'ledger.db'}")
        create_tables(engine)
        self.keys = directory / "keys"
        self.ledger, self.log = Ledger(engine), AuditLog(engine, KeyStore(self.keys))
        self.pseudonym = Pseudonymiser(self.keys)
        self.rollout = self.ledger.open_rollout("colon", "a" * 64, "b" * 64, {}, "j-doe", NOW)

    def close(self) -> None:
        token = self.ledger.acquire_lease("colon", "test", 60)
        assert token is not None
        self.ledger.append_transition(
            Transition(self.rollout.id, "colon", "ROLLBACK", "rolled_back", 0, "asked", "person", "j-doe", NOW, False),
            Fence("colon", token),
        )

    def rotate(self) -> tuple[str, ...]:
        return rotate(self.ledger, self.log, "j-doe", "regular", NOW).held

    def destroy(self) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        done = destroy_retired(self.ledger, self.log, "j-doe", "asked for", NOW)
        return done.destroyed, done.in_use


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_patients_of_an_open_rollout_keep_their_pseudonym_over_rotations_and_others_change(place: Place) -> None:
    colon, breast = place.pseudonym("colon", "4711"), place.pseudonym("breast", "4711")
    assert place.rotate() == ("colon",)
    assert place.rotate() == ("colon",)
    for pseudonymiser in (place.pseudonym, Pseudonymiser(place.keys)):  # a running process, and a new one
        assert pseudonymiser("colon", "4711") == colon
        assert pseudonymiser("breast", "4711") != breast


def test_the_key_of_an_open_rollout_is_not_destroyed_and_goes_when_it_has_ended(place: Place) -> None:
    colon = place.pseudonym("colon", "4711")
    former = (place.keys / "patient-pseudonym.key").read_bytes()
    place.rotate()
    gone, needed = place.destroy()
    assert (gone, list(needed.values())) == ((), [("colon",)])
    assert place.pseudonym("colon", "4711") == colon
    place.close()
    gone, needed = place.destroy()
    assert (len(gone), needed) == (1, {})
    assert former not in [path.read_bytes() for path in place.keys.iterdir()]
    assert place.pseudonym("colon", "4711") != colon


def test_both_are_on_record_without_any_key(place: Place) -> None:
    former = (place.keys / "patient-pseudonym.key").read_bytes().hex()
    place.rotate()
    place.close()
    place.destroy()
    entries = place.log.entries()
    assert [entry.action for entry in entries] == ["rotate_pseudonym_key", "destroy_pseudonym_key"]
    assert entries[0].payload["held_for"] == ["colon"]
    assert entries[0].payload["old"] == entries[1].subject
    assert former not in str(entries)
    assert place.log.verify_chain().ok
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.keys.glob("*.key")} == {0o600}
