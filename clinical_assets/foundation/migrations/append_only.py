"""Triggers with which the database itself keeps a table append-only, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

_REFUSAL = "{table} is append-only: rows are neither changed nor removed"

_TRIGGERS = {
    "sqlite": (
        f"""CREATE TRIGGER IF NOT EXISTS {{table}}_no_update BEFORE UPDATE ON {{table}}
        BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END""",
        f"""CREATE TRIGGER IF NOT EXISTS {{table}}_no_delete BEFORE DELETE ON {{table}}
        BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END""",
        # INSERT OR REPLACE removes a row without firing the delete trigger, so a row may only be added at the end.
        f"""CREATE TRIGGER IF NOT EXISTS {{table}}_at_end BEFORE INSERT ON {{table}}
        WHEN NEW.seq <= (SELECT max(seq) FROM {{table}}) BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END""",
    ),
    "postgresql": (
        f"""CREATE OR REPLACE FUNCTION {{table}}_refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$""",
        "DROP TRIGGER IF EXISTS {table}_no_change ON {table}",
        """CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
        FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()""",
    ),
}


def refuse_changes(connection: Connection, name: str) -> None:
    for statement in _TRIGGERS[connection.dialect.name]:
        connection.exec_driver_sql(statement.format(table=name))


@contextmanager
def removal_allowed(connection: Connection, name: str) -> Iterator[None]:
    """Rows may be removed inside, by this transaction alone; it must own the table."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA secure_delete=ON")  # what is removed is overwritten in the file
        connection.exec_driver_sql(f"DROP TRIGGER {name}_no_delete")
        yield
        refuse_changes(connection, name)
        return
    connection.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER {name}_no_change")
    yield
    connection.exec_driver_sql(f"ALTER TABLE {name} ENABLE TRIGGER {name}_no_change")
