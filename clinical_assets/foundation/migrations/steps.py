"""What revisions are made of. A step leaves alone what is there, so that a database without a revision is adopted."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from clinical_assets.foundation.migrations.append_only import refuse_changes


class ForeignSchema(RuntimeError):
    """A table of this name exists and is not the platform's; the message names it and the remedy."""


def table(name: str, *columns: Any) -> None:
    """Create a table unless it is there with these columns.

    Raises:
        ForeignSchema: it is there, with a column missing.
    """
    connection = op.get_bind()
    inspector = sa.inspect(connection)
    if inspector.has_table(name):
        wanted = {column.name for column in columns if isinstance(column, sa.Column)}
        missing = wanted - {column["name"] for column in inspector.get_columns(name)}
        if missing:
            raise ForeignSchema(
                f"the database has a table {name} without the column {sorted(missing)[0]}: it was made by something "
                "else, or by a version of the platform before its schema was versioned; nothing was changed. "
                "Give the platform a database of its own in CLINICAL_DATABASE_URL"
            )
        return
    op.create_table(name, *columns)


def chained_table(name: str, *columns: Any) -> None:
    """A table with the columns of a hash chain that refuses UPDATE and DELETE."""
    table(
        name,
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        *columns,
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("entry_hash", sa.String(64), nullable=False),
    )
    refuse_changes(op.get_bind(), name)


def body() -> tuple[sa.Column[Any], sa.Column[Any]]:
    return sa.Column("body", sa.Text, nullable=False), sa.Column("body_sha256", sa.String(64), nullable=False)


def index(name: str, table_name: str, *columns: str, unique: bool = False) -> None:
    op.create_index(name, table_name, list(columns), unique=unique, if_not_exists=True)
