"""Every opening of a test split is on record once, also when the process dies between any two steps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.openings import OPEN_TEST_SPLIT, TestSplitOpenings
from clinical_assets.audit.trail import gaps
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.gates.policy import GatePolicy

from .releases import MODEL, NOW, OTHER

POLICY = GatePolicy()
LAXER = GatePolicy.with_overrides({"performance": {"ici_max": 0.5}})
SPLIT = "5" * 64

OPEN_AND_DIE = """
import os, signal, sys
from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.openings import TestSplitOpenings
from clinical_assets.audit import chain, log
from clinical_assets.foundation.database import engine_for
from clinical_assets.gates.policy import GatePolicy
from pathlib import Path

def die(*_): os.kill(os.getpid(), signal.SIGKILL)

url, keys, where = sys.argv[1:]
if where == "before the append": log.AuditLog.append_within = die
if where == "before the commit":
    write = log.AuditLog.append_within
    log.AuditLog.append_within = lambda *a, **k: (write(*a, **k), die())
openings = TestSplitOpenings(AuditLog(engine_for(url), KeyStore(Path(keys))))
openings.open(actor="platform", cancer="colon", model_digest="a" * 64, split_digest="5" * 64, policy=GatePolicy(),
              now=1_800_000_000.0)
die()
"""


def _open(log: AuditLog, model: str = MODEL, policy: GatePolicy = POLICY) -> bool:
    return TestSplitOpenings(log).open(
        actor="platform", cancer="colon", model_digest=model, split_digest=SPLIT, policy=policy, now=NOW
    )


@pytest.fixture
def log(engine: Engine, keys: KeyStore) -> AuditLog:
    return AuditLog(engine, keys)


def test_the_first_opening_fixes_the_policy(log: AuditLog) -> None:
    assert TestSplitOpenings(log).lock(MODEL, SPLIT) is None
    assert _open(log)
    assert _open(log, policy=LAXER)
    lock = TestSplitOpenings(log).lock(MODEL, SPLIT)
    assert lock is not None
    assert (lock.digest, lock.content) == (POLICY.digest, POLICY.content)
    assert TestSplitOpenings(log).lock(MODEL, "6" * 64) is None


def test_the_same_opening_again_is_no_second_look_another_model_or_policy_is(log: AuditLog) -> None:
    assert [_open(log), _open(log), _open(log, OTHER), _open(log, policy=LAXER)] == [True, False, True, True]
    looks = TestSplitOpenings(log).looks(SPLIT)
    assert [(look.model_digest, look.policy_digest) for look in looks] == [
        (MODEL, POLICY.digest), (OTHER, POLICY.digest), (MODEL, LAXER.digest),
    ]  # fmt: skip
    assert TestSplitOpenings(log).looks("6" * 64) == ()


@pytest.mark.parametrize(
    ("where", "before"), [("before the append", 0), ("before the commit", 0), ("before the first prediction", 1)]
)
def test_a_killed_process_loses_no_look_and_counts_none_twice(
    sqlite_url: str, tmp_path: Path, where: str, before: int
) -> None:
    engine, keys = engine_for(sqlite_url), KeyStore(tmp_path / "keys")
    create_tables(engine)
    keys.signer("platform")
    command = [sys.executable, "-c", OPEN_AND_DIE, sqlite_url, str(keys.directory), where]
    done = subprocess.run(command, env={**os.environ}, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    log = AuditLog(engine, keys)
    assert len(log.entries(action=OPEN_TEST_SPLIT)) == before
    _open(log)
    assert len(log.entries(action=OPEN_TEST_SPLIT)) == 1
    assert log.verify_chain().ok
    assert gaps(engine) == ()
