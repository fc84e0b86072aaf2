"""Tables that refuse UPDATE and DELETE in the database itself, on SQLite and PostgreSQL."""

from __future__ import annotations

from sqlalchemy import DDL, Table, event

_REFUSAL = "%(table)s is append-only: rows are neither changed nor removed"

_SQLITE = (
    f"""CREATE TRIGGER IF NOT EXISTS %(table)s_no_update BEFORE UPDATE ON %(table)s
        BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END""",
    f"""CREATE TRIGGER IF NOT EXISTS %(table)s_no_delete BEFORE DELETE ON %(table)s
        BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END""",
    # INSERT OR REPLACE removes a row without firing the delete trigger, so a row may only be added at the end.
    f"""CREATE TRIGGER IF NOT EXISTS %(table)s_at_end BEFORE INSERT ON %(table)s
        WHEN NEW.seq <= (SELECT max(seq) FROM %(table)s) BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END""",
)

_POSTGRESQL = (
    f"""CREATE OR REPLACE FUNCTION %(table)s_refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$""",
    """CREATE TRIGGER %(table)s_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON %(table)s
        FOR EACH STATEMENT EXECUTE FUNCTION %(table)s_refuse()""",
)


def append_only(table: Table) -> Table:
    """Create the refusing triggers together with `table`."""
    for dialect, statements in (("sqlite", _SQLITE), ("postgresql", _POSTGRESQL)):
        for statement in statements:
            event.listen(table, "after_create", DDL(statement).execute_if(dialect=dialect))
    return table
