"""No fault of a record, alone or with a second, lets a model through; what was written cannot be taken back unseen."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.records import RecordStore, Refused
from clinical_assets.audit.revocations import Kind
from clinical_assets.audit.statements import Waiver, lasting
from clinical_assets.audit.trail import gaps
from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.gates.verdict import GateName, Scope, Verdict

from .releases import DAY, MODEL, NOW, OTHER, issue, reports

WAIVED = {"RG8": Verdict.INCONCLUSIVE}


@dataclass
class Attempt:
    """A store in which the model may act, and what is asked of it."""

    store: RecordStore
    model: str = MODEL
    cancer: str = "colon"
    now: float = NOW + 1

    @contextmanager
    def unguarded(self) -> Iterator[Connection]:
        with self.store.engine.begin() as connection:
            for table in ("records", "statements", "audit_log"):
                for suffix in ("no_update", "no_delete", "at_end"):
                    connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_{suffix}"))
            yield connection

    def write(self, statement: str) -> None:
        with self.unguarded() as connection:
            connection.execute(text(statement))

    def waiver(self) -> str:
        return self.store.statements.statements(MODEL)[0].digest


def _skipped(attempt: Attempt) -> None:
    issue(attempt.store, reports=[report for report in reports(WAIVED) if report.gate is not GateName.BIAS], now=NOW)


def _crashed(attempt: Attempt) -> None:
    issue(attempt.store, reports=reports(WAIVED | {"BI2": Verdict.ERROR}), now=NOW)


def _blocked(attempt: Attempt) -> None:
    issue(attempt.store, reports=reports(WAIVED | {"SE1": Verdict.BLOCK}), now=NOW)


def _another_model(attempt: Attempt) -> None:
    attempt.model = OTHER


def _another_cancer(attempt: Attempt) -> None:
    attempt.cancer = "breast"


def _stale(attempt: Attempt) -> None:
    attempt.now = NOW + 91 * DAY


def _waiver_expired(attempt: Attempt) -> None:
    attempt.now = max(attempt.now, NOW + 8 * DAY)


def _model_revoked(attempt: Attempt) -> None:
    attempt.store.revoke(MODEL, "wrong cohort", "ada", NOW)


def _record_revoked(attempt: Attempt) -> None:
    found = attempt.store.find(MODEL)
    assert found is not None
    attempt.store.revocations.add(Kind.RECORD, found.digest, "wrong cohort", "ada", NOW)


def _waiver_revoked(attempt: Attempt) -> None:
    attempt.store.revocations.add(Kind.STATEMENT, attempt.waiver(), "a mistake", "ada", NOW)


def _waivers_key_revoked(attempt: Attempt) -> None:
    attempt.store.revocations.add(Kind.KEY, attempt.store.statements.statements(MODEL)[0].key_id, "stolen", "ada", NOW)


def _forged(attempt: Attempt) -> None:
    """Somebody without the platform's key appends a passing record, and a head to match."""
    from clinical_assets.audit.record_table import append_signed

    mallory = attempt.store.keys.signer("mallory")
    found = attempt.store.find(MODEL)
    assert found is not None
    body = canonical_json(json.loads(found.record.canonical()) | {"actor": "mallory"})
    with attempt.unguarded() as connection:
        append_signed(connection, mallory, "decision", "colon", MODEL, body, found.record.issued_utc)


def _copied(attempt: Attempt) -> None:
    """A good record filed under a model that was never judged."""
    attempt.write(
        f"INSERT INTO records SELECT seq + 100, kind, cancer, '{OTHER}', key_id, signature, recorded_utc, body, "
        "body_sha256, previous, entry_hash FROM records ORDER BY seq LIMIT 1"
    )
    attempt.model = OTHER


def _edited(attempt: Attempt) -> None:
    attempt.write("""UPDATE records SET body = replace(body, '"tier":"clinical"', '"tier":"research"')""")


def _truncated(attempt: Attempt) -> None:
    attempt.write("DELETE FROM records WHERE seq = (SELECT max(seq) FROM records)")


def _emptied(attempt: Attempt) -> None:
    attempt.write("DELETE FROM records")
    attempt.write("DELETE FROM chain_heads")


def _reordered(attempt: Attempt) -> None:
    attempt.write("UPDATE records SET seq = -seq")


def _unsealed(attempt: Attempt) -> None:
    attempt.write("UPDATE chain_heads SET sealed_length = 0 WHERE chain = 'records'")


FAULTS: tuple[Callable[[Attempt], None], ...] = (
    _skipped, _crashed, _blocked, _another_model, _another_cancer, _stale, _waiver_expired, _model_revoked,
    _record_revoked, _waiver_revoked, _waivers_key_revoked, _forged, _copied, _edited, _truncated, _emptied, _reordered,
    _unsealed,
)  # fmt: skip
AFTERWARDS = (_edited, _truncated, _emptied, _reordered, _unsealed, _copied)
"""Faults of the database as a whole come last: a store cannot be written to once its chain is broken by hand."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two judged models, one with a waiver on which its scope rests."""
    root = tmp_path_factory.mktemp("judged")
    engine = engine_for(f"sqlite:///{root / 'ledger.db'}")
    create_tables(engine)
    store = RecordStore(engine, KeyStore(root / "keys"))
    issue(store, model_digest="c" * 64, reports=reports(model_digest="c" * 64))
    issue(store, reports=reports(WAIVED))
    fields = {"cancer": "colon", "model_digest": MODEL, "check_id": "RG8", "signer": "ada", "reason": "seen on paper"}
    store.statements.sign(Waiver(**fields, scope=Scope.TRAFFIC, **lasting(NOW, 7)), store.keys.signer("ada"))
    engine.dispose()
    return root


@contextmanager
def _attempt(template: Path) -> Iterator[Attempt]:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "state"
        shutil.copytree(template, root)
        engine = create_engine(f"sqlite:///{root / 'ledger.db'}", poolclass=NullPool)
        yield Attempt(RecordStore(engine, KeyStore(root / "keys")))


def _refused(attempt: Attempt) -> bool:
    try:
        attempt.store.require(attempt.model, attempt.cancer, Scope.SHADOW, attempt.now)
    except Refused:
        return True
    return False


def test_without_a_fault_the_model_may_act(template: Path) -> None:
    with _attempt(template) as attempt:
        attempt.store.require(MODEL, "colon", Scope.TRAFFIC, attempt.now)
        assert gaps(attempt.store.engine) == ()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_one_fault_is_enough(template: Path, fault: Callable[[Attempt], None]) -> None:
    with _attempt(template) as attempt:
        fault(attempt)
        assert _refused(attempt)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pair=st.lists(st.sampled_from(FAULTS), min_size=2, max_size=2, unique=True))
def test_no_second_fault_undoes_the_first(template: Path, pair: list[Callable[[Attempt], None]]) -> None:
    with _attempt(template) as attempt:
        for fault in sorted(pair, key=lambda fault: fault in AFTERWARDS):
            fault(attempt)
        assert _refused(attempt)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.sampled_from(["audit_log", "records", "statements"]),
    edit=st.sampled_from(
        [
            "DELETE FROM {t} WHERE seq = {last}",
            "DELETE FROM {t} WHERE seq = {first}",
            "UPDATE {t} SET seq = CASE seq WHEN {first} THEN {last} + 9 ELSE seq END",
            "UPDATE {t} SET entry_hash = '" + "0" * 64 + "' WHERE seq = {last}",
            "UPDATE {t} SET body = body || ' ' WHERE seq = {first}",
            "UPDATE {t} SET body_sha256 = '" + "1" * 64 + "' WHERE seq = {last}",
            "UPDATE {t} SET {when} = '2020-01-01T00:00:00.000+00:00' WHERE seq = {first}",
        ]
    ),
)
def test_truncation_reordering_and_edits_are_noticed(template: Path, table: str, edit: str) -> None:
    with _attempt(template) as attempt:
        with attempt.unguarded() as connection:
            first, last = connection.execute(text(f"SELECT min(seq), max(seq) FROM {table}")).one()
            when = "at_utc" if table == "audit_log" else "recorded_utc"
            connection.execute(text(edit.format(t=table, first=first, last=last, when=when)))
        store = attempt.store
        log = AuditLog(store.engine, store.keys)
        states = (log.verify_chain(), store.verify_chain(), store.statements.verify_chain())
        assert not all(state.ok for state in states)


def test_a_restored_older_copy_contradicts_the_seal_kept_elsewhere(template: Path) -> None:
    with _attempt(template) as before, _attempt(template) as after:
        _model_revoked(after)
        witness = after.store.seal(NOW + 1)
        assert before.store.verify_chain().ok
        assert not before.store.verify_chain(witness).ok
