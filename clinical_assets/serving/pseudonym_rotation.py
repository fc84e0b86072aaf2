"""A new pseudonym key, without changing the pseudonym of any patient in an open rollout; the former one destroyed.

Arms are given by pseudonym, so the key of a cancer type changes only between its rollouts: where one is open, the
former key is held for it. Rollouts cannot open while a rotation runs. Without the key nobody can link a pseudonym.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from clinical_assets.audit.log import AuditLog
from clinical_assets.foundation.canonical import sha256_bytes
from clinical_assets.foundation.clock import utc_iso
from clinical_assets.foundation.files import fsync_directory, write_atomic
from clinical_assets.rollout.ledger import CHAINS, Ledger
from clinical_assets.serving.pseudonym import HELD, KEY_FILE, Pseudonymiser

RETIRED = "patient-pseudonym.retired.{identity}.key"


@dataclass(frozen=True)
class Rotation:
    """Identities of keys (never the keys); `held`: cancer types that keep the former key until their rollout ends."""

    old: str
    new: str
    held: tuple[str, ...]


@dataclass(frozen=True)
class Destruction:
    """`destroyed`: identities. `in_use`: identity of each retired key that stays, and the cancer types that hold it."""

    destroyed: tuple[str, ...]
    in_use: dict[str, tuple[str, ...]]


def rotate(ledger: Ledger, log: AuditLog, actor: str, reason: str, now: float) -> Rotation:
    """Make a new key and put it on record. A process killed in between leaves the former key in force, or the new one.

    Args:
        now: wall time, seconds since the epoch.
    """
    keys = log.keys.directory
    Pseudonymiser(keys)  # there is one to rotate
    with ledger.engine.begin() as connection:
        CHAINS["rollouts"].lock(connection)
        running = _release(keys, ledger)
        former = (keys / KEY_FILE).read_bytes()
        fresh = os.urandom(32)
        for cancer in running:
            _copy(keys / KEY_FILE, keys / HELD.format(cancer=cancer))
        _copy(keys / KEY_FILE, keys / RETIRED.format(identity=identity(former)))
        fsync_directory(keys)
        done = Rotation(identity(former), identity(fresh), tuple(_holders(keys).values()))
        _record(log, connection, actor, "rotate_pseudonym_key", done.new, now,
                old=done.old, new=done.new, held_for=list(done.held), reason=reason)  # fmt: skip
        write_atomic(keys / KEY_FILE, fresh, mode=0o600)
    return done


def destroy_retired(ledger: Ledger, log: AuditLog, actor: str, reason: str, now: float) -> Destruction:
    """Overwrite and remove every former key that no open rollout needs, and put it on record."""
    keys = log.keys.directory
    with ledger.engine.begin() as connection:
        CHAINS["rollouts"].lock(connection)
        _release(keys, ledger)
        needed: dict[str, tuple[str, ...]] = {}
        for path, cancer in _holders(keys).items():
            name = identity(path.read_bytes())
            needed[name] = (*needed.get(name, ()), cancer)
        gone = []
        for path in sorted(keys.glob(RETIRED.format(identity="*"))):
            name = identity(path.read_bytes())
            if name in needed:
                continue
            _record(log, connection, actor, "destroy_pseudonym_key", name, now, old=name, new="none", reason=reason)
            with path.open("r+b") as file:
                file.write(os.urandom(32))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
            gone.append(name)
        fsync_directory(keys)
    return Destruction(tuple(gone), needed)


def identity(key: bytes) -> str:
    """A name for a key from which the key cannot be found."""
    return sha256_bytes(b"pseudonym key\0" + key)[:16]


def _release(keys: Path, ledger: Ledger) -> list[str]:
    """Let go of keys held for rollouts that have ended; returns the cancer types whose rollout is open."""
    running = sorted({rollout.cancer for rollout in ledger.rollouts(active=True)})
    for path, cancer in _holders(keys).items():
        if cancer not in running:
            path.unlink()
    return running


def _holders(keys: Path) -> dict[Path, str]:
    before, after = HELD.split("{cancer}")
    return {
        path: path.name.removeprefix(before).removesuffix(after) for path in sorted(keys.glob(HELD.format(cancer="*")))
    }


def _copy(source: Path, target: Path) -> None:
    """A copy under another name; one that is there stays: it is the key that its rollout began with."""
    if not target.exists():
        write_atomic(target, source.read_bytes(), mode=0o600)


def _record(
    log: AuditLog, connection: Connection, actor: str, action: str, subject: str, now: float, **payload: object
) -> None:
    log.append_within(connection, actor, action, subject, payload, utc_iso(now))
