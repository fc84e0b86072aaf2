from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import chain

import pytest
from sqlalchemy import Engine

from clinical_assets.audit.chain import HashChain
from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog, PatientDataRefused, audit_log

UTC = "2026-01-01T00:00:00.000+00:00"

WRITER = """
import sys
from pathlib import Path
from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.foundation.database import engine_for
log = AuditLog(engine_for(sys.argv[1]), KeyStore(Path(sys.argv[2])))
for number in range(int(sys.argv[3])):
    print(log.append("writer", "count", sys.argv[4], {"n": number}, "2026-01-01T00:00:00.000+00:00"), flush=True)
"""


def _writer(engine: Engine, keys: KeyStore, count: int, subject: str) -> subprocess.Popen[str]:
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", WRITER, url, str(keys.directory), str(count), subject]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_entries_are_read_back_as_logged(engine: Engine, keys: KeyStore) -> None:
    log = AuditLog(engine, keys)
    digest = log.append("alice", "approve", "model", {"meaning": "approval", "nested": [1.5, None]}, UTC)
    log.append("platform", "promote", "rollout", {}, UTC)
    [entry] = log.entries("model")
    assert (entry.actor, entry.action, entry.payload) == (
        "alice",
        "approve",
        {"meaning": "approval", "nested": [1.5, None]},
    )
    assert entry.entry_hash == digest
    assert [e.subject for e in log.entries()] == ["model", "rollout"]
    assert log.verify_chain().ok


@pytest.mark.parametrize(
    "payload", [{"patient": "p"}, {"rows": [{"MRN": 1}]}, {"a": {"subject_ids": []}}, {"request_id": "r"}]
)
def test_patient_data_is_refused_and_not_echoed(
    sqlite_engine: Engine, keys: KeyStore, payload: dict[str, object]
) -> None:
    log = AuditLog(sqlite_engine, keys)
    with pytest.raises(PatientDataRefused, match="log a count"):
        log.append("a", "act", "s", payload, UTC)
    assert log.entries() == []


def test_an_entry_and_what_it_describes_are_rolled_back_together(sqlite_engine: Engine, keys: KeyStore) -> None:
    log = AuditLog(sqlite_engine, keys)
    with sqlite_engine.begin() as connection:
        log.append_within(connection, "a", "act", "s", {}, UTC)
        connection.rollback()
    assert log.entries() == []
    assert log.verify_chain().ok


def test_several_processes_append_to_one_chain(engine: Engine, keys: KeyStore) -> None:
    writers = [_writer(engine, keys, 20, f"writer-{number}") for number in range(3)]
    answers = [writer.communicate(timeout=60)[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    log = AuditLog(engine, keys)
    assert log.verify_chain().ok
    assert sorted(e.entry_hash for e in log.entries()) == sorted(chain.from_iterable(answers))
    for number in range(3):
        assert [e.payload["n"] for e in log.entries(f"writer-{number}")] == list(range(20))


def test_a_writer_killed_in_the_middle_leaves_whole_entries(engine: Engine, keys: KeyStore) -> None:
    log = AuditLog(engine, keys)
    acknowledged: list[str] = []
    for rounds in range(2):
        writer = _writer(engine, keys, 10_000, f"round-{rounds}")
        assert writer.stdout
        acknowledged += [writer.stdout.readline().strip() for _ in range(15)]
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged += [line.strip() for line in writer.stdout if line.endswith("\n")]
        writer.wait()
    state = log.verify_chain()
    assert state.ok, state.problem
    assert set(acknowledged) <= {e.entry_hash for e in log.entries()}
    assert state.entries - len(acknowledged) in (0, 1, 2)  # committed, but killed before saying so
    log.append("survivor", "continue", "s", {}, UTC)
    assert log.verify_chain().entries == state.entries + 1


def test_an_entry_added_without_the_platforms_key_is_detected(sqlite_engine: Engine, keys: KeyStore) -> None:
    log = AuditLog(sqlite_engine, keys)
    log.append("a", "act", "s", {}, UTC)
    forged = {"at_utc": UTC, "actor": "mallory", "action": "act", "subject": "s", "body": "{}"}
    with sqlite_engine.begin() as connection:
        HashChain(audit_log).append(connection, [forged])
    assert log.verify_chain().problem == "audit_log: the seal covers 1 of 2 rows"


def test_a_seal_kept_elsewhere_vouches_for_the_log(sqlite_engine: Engine, keys: KeyStore) -> None:
    log = AuditLog(sqlite_engine, keys)
    log.append("a", "act", "s", {}, UTC)
    kept = log.seal(UTC)
    log.append("a", "act", "s", {}, UTC)
    assert log.verify_chain(kept).ok
