"""Chains: any edit, removal, insertion or truncation shows, on both databases, whatever was stored."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, Table, create_engine, select, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from clinical_assets.audit.chain import HashChain, heads, snapshot
from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.log import audit_log
from clinical_assets.audit.records import records
from clinical_assets.audit.seals import Seal
from clinical_assets.audit.statement_store import statements
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.rollout.tables import intents, outcomes, predictions, rollouts, transitions

CHAINED = (audit_log, records, statements, predictions, outcomes, rollouts, transitions, intents)
UTC = "2026-01-01T00:00:00.000+00:00"

_log = HashChain(audit_log)
_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_number = st.floats(allow_nan=False, allow_infinity=False)
_prediction = st.fixed_dictionaries(
    {
        "cancer": _text,
        "patient": _text,
        "propensity": _number,
        "risk": st.none() | _number,
        "predicted_at": _number,
    }
)


def _entry(body: str = "{}", subject: str = "s") -> dict[str, str]:
    return {"at_utc": UTC, "actor": "a", "action": "act", "subject": subject, "body": body}


def _written(connection: Connection, count: int) -> None:
    for number in range(count):
        _log.append(connection, [_entry(f'{{"n":{number}}}')])


def _without_triggers(connection: Connection, table: str) -> None:
    if connection.dialect.name == "sqlite":
        for suffix in ("no_update", "no_delete", "at_end"):
            connection.execute(text(f"DROP TRIGGER {table}_{suffix}"))
    else:
        connection.execute(text(f"DROP TRIGGER {table}_no_change ON {table}"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables are created once; each example works on a copy of the file."""
    path = tmp_path_factory.mktemp("template") / "empty.db"
    engine = engine_for(f"sqlite:///{path}")
    create_tables(engine)
    with engine.begin() as connection:
        for table in ("audit_log", "predictions"):
            _without_triggers(connection, table)
    engine.dispose()
    return path


def _copy(template: Path, name: str) -> Engine:
    path = template.with_name(name)
    path.unlink(missing_ok=True)
    shutil.copy(template, path)
    return create_engine(f"sqlite:///{path}", poolclass=NullPool)


@pytest.mark.parametrize("table", CHAINED, ids=lambda table: table.name)
def test_the_database_itself_refuses_changes(engine: Engine, table: Table) -> None:
    name = table.name
    filler = {c.name: 1 if c.type.python_type in (int, float) else "x" for c in table.columns}
    with engine.begin() as connection:
        connection.execute(table.insert(), filler)
    forbidden = [f"UPDATE {name} SET entry_hash = 'y'", f"DELETE FROM {name}"]
    if engine.dialect.name == "sqlite":
        values = ", ".join(f"'{value}'" if isinstance(value, str) else str(value) for value in filler.values())
        forbidden.append(f"INSERT OR REPLACE INTO {name} VALUES ({values})")
    else:
        forbidden.append(f"TRUNCATE {name}")
    for statement in forbidden:
        with pytest.raises(DatabaseError, match=f"{name} is append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    with snapshot(engine) as connection:
        assert len(connection.execute(select(table)).all()) == 1


def test_links_survive_the_round_trip_through_the_database(engine: Engine) -> None:
    chain = HashChain(predictions, "journal")
    values = [0.1 + 0.2, -0.0, 1e300, 5e-324, 1.0, 123456789.123456789, 2.0**53 + 2]
    names = ["plain", "Ünïcödé 🩺", 'quo"te', "back\\slash", "line\nbreak", "", "percent %s"]
    rows = [
        {
            "request_id": f"r{number}",
            "digest": "d",
            "cancer": name,
            "patient": name,
            "arm": "shadow",
            "propensity": value,
            "risk": None if number % 2 else value,
            "status": "ok",
            "predicted_at": value,
            "recorded_at": number,
        }
        for number, (value, name) in enumerate(zip(values, names, strict=True))
    ]
    with engine.begin() as connection:
        chain.append(connection, rows)
    with snapshot(engine) as connection:
        assert chain.verify(connection).ok
        stored = connection.execute(
            select(predictions.c.predicted_at, predictions.c.cancer).order_by(predictions.c.seq)
        )
        assert [tuple(row) for row in stored] == list(zip(values, names, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(sqlite_engine: Engine, value: float) -> None:
    with pytest.raises(ValueError, match="risk"), sqlite_engine.begin() as connection:
        HashChain(predictions, "journal").append(connection, [{"risk": value}])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_tampering_is_detected(template: Path, data: st.DataObject) -> None:
    engine = _copy(template, "tampered.db")
    chain = HashChain(predictions, "journal")
    batches = data.draw(st.lists(st.lists(_prediction, min_size=1, max_size=3), min_size=1, max_size=3))
    total = 0
    with engine.begin() as connection:
        for batch in batches:
            rows = [
                row
                | {"request_id": f"r{total + i}", "digest": "d", "arm": "shadow", "status": "ok", "recorded_at": 0.5}
                for i, row in enumerate(batch)
            ]
            chain.append(connection, rows)
            total += len(rows)
        assert chain.verify(connection).ok
        assert chain.verify(connection).entries == total

        victim = data.draw(st.integers(1, total))
        stored = connection.execute(select(predictions).where(predictions.c.seq == victim)).mappings().one()
        kind = data.draw(st.sampled_from(["edit", "remove", "insert", "move"]))
        if kind == "edit":
            column = data.draw(st.sampled_from([c for c in predictions.columns if c.name != "seq"]))
            numeric = column.type.python_type is float
            new = data.draw((_number if numeric else _text).filter(lambda value: value != stored[column.name]))
            connection.execute(predictions.update().where(predictions.c.seq == victim).values({column.name: new}))
        elif kind == "remove":
            connection.execute(predictions.delete().where(predictions.c.seq == victim))
        elif kind == "insert":
            connection.execute(predictions.insert(), dict(stored) | {"seq": total + 1, "request_id": "forged"})
        else:
            connection.execute(predictions.update().where(predictions.c.seq == victim).values(seq=total + 5))
        assert not chain.verify(connection).ok


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(total=st.integers(1, 6), data=st.data())
def test_an_edited_body_is_detected(template: Path, total: int, data: st.DataObject) -> None:
    engine = _copy(template, "bodies.db")
    victim = data.draw(st.integers(1, total))
    with engine.begin() as connection:
        _written(connection, total)
        connection.execute(audit_log.update().where(audit_log.c.seq == victim).values(body='{"n":99}'))
        state = _log.verify(connection)
        assert not state.ok
        assert f"row {victim}" in state.problem


def test_a_truncated_tail_contradicts_the_head(engine: Engine) -> None:
    with engine.begin() as connection:
        _written(connection, 3)
        _without_triggers(connection, "audit_log")
        connection.execute(audit_log.delete().where(audit_log.c.seq == 3))
        assert _log.verify(connection).problem == "audit_log: 3 rows were written, 2 are present"


def test_whoever_shortens_chain_and_head_together_cannot_forge_the_seal(engine: Engine, keys: KeyStore) -> None:
    platform = keys.signer("platform")
    with engine.begin() as connection:
        for number in range(3):
            _log.append(connection, [_entry(f'{{"n":{number}}}')], platform, UTC)
        assert _log.verify(connection, keys, "platform", every_row_sealed=True).ok
        second = connection.execute(select(audit_log.c.entry_hash).where(audit_log.c.seq == 2)).scalar_one()
        _without_triggers(connection, "audit_log")
        connection.execute(audit_log.delete().where(audit_log.c.seq == 3))
        connection.execute(heads.update().values(length=2, last_seq=2, head=second))
        assert not _log.verify(connection, keys, "platform", every_row_sealed=True).ok
        connection.execute(heads.update().values(sealed_length=2, sealed_head=second))
        assert "no valid signature" in _log.verify(connection, keys, "platform", every_row_sealed=True).problem


def test_a_row_taken_out_with_its_count_breaks_the_link_to_the_next(engine: Engine) -> None:
    with engine.begin() as connection:
        _written(connection, 3)
        _without_triggers(connection, "audit_log")
        connection.execute(audit_log.delete().where(audit_log.c.seq == 2))
        connection.execute(heads.update().values(length=2))
        assert "row 2 (seq 3): does not follow" in _log.verify(connection).problem


def test_a_history_rewritten_with_fresh_hashes_contradicts_its_seal(engine: Engine, keys: KeyStore) -> None:
    with engine.begin() as connection:
        _written(connection, 2)
        _log.seal(connection, keys.signer("platform"), UTC)
        _written(connection, 1)
        sealed = dict(connection.execute(select(heads)).mappings().one())
        _without_triggers(connection, "audit_log")
        connection.execute(audit_log.delete())
        connection.execute(heads.delete())
        for subject in ("other", "history", "altogether"):
            _log.append(connection, [_entry(subject=subject)])
        assert _log.verify(connection).ok
        kept = {name: value for name, value in sealed.items() if name not in ("length", "last_seq", "head")}
        connection.execute(heads.update().values(**kept))
        assert "row 2 (seq 2): is not the row that was sealed" in _log.verify(connection, keys, "platform").problem


def test_a_seal_of_another_key_is_not_the_platforms(engine: Engine, keys: KeyStore) -> None:
    with engine.begin() as connection:
        _log.append(connection, [_entry()], keys.signer("mallory"), UTC)
        assert "no valid signature" in _log.verify(connection, keys, "platform").problem


def test_a_restored_older_database_is_unmasked_by_a_seal_kept_elsewhere(sqlite_engine: Engine, keys: KeyStore) -> None:
    platform = keys.signer("platform")
    with sqlite_engine.begin() as connection:
        _log.append(connection, [_entry()], platform, UTC)
        older = connection.execute(select(heads)).mappings().one()
        _log.append(connection, [_entry()], platform, UTC)
        kept = Seal.from_json(_log.seal(connection, platform, UTC).to_json())
        assert _log.verify(connection, keys, "platform", witness=kept).ok
        _without_triggers(connection, "audit_log")
        connection.execute(audit_log.delete().where(audit_log.c.seq == 2))
        connection.execute(heads.update().values(**older))
        assert _log.verify(connection, keys, "platform", every_row_sealed=True).ok  # the copy is consistent in itself
        assert not _log.verify(connection, keys, "platform", witness=kept).ok


def test_a_chain_whose_head_was_removed_does_not_verify(sqlite_engine: Engine) -> None:
    with sqlite_engine.begin() as connection:
        _written(connection, 2)
        connection.execute(heads.delete())
        assert not _log.verify(connection).ok


def test_an_empty_chain_verifies(engine: Engine) -> None:
    with snapshot(engine) as connection:
        assert _log.verify(connection) == _log.verify(connection, bodies=False)
        assert _log.verify(connection).entries == 0


def test_chains_of_one_sequence_share_one_order(engine: Engine) -> None:
    left, right = HashChain(audit_log, "common"), HashChain(statements, "common")
    statement = {"kind": "k", "cancer": "c", "model_digest": "m", "signer": "s", "key_id": "k", "signature": "s"}
    with engine.begin() as connection:
        left.append(connection, [_entry(), _entry()])
        right.append(connection, [statement | {"recorded_utc": UTC, "body": "{}"}])
        left.append(connection, [_entry()])
        assert [row.seq for row in connection.execute(select(audit_log.c.seq).order_by(audit_log.c.seq))] == [1, 2, 4]
        assert connection.execute(select(statements.c.seq)).scalar_one() == 3
        assert left.verify(connection).ok
        assert right.verify(connection).ok
