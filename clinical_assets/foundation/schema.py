"""Which revision a database's schema has, and bringing it to the one that this version of the platform works with.

The revision lies in a table of its own name, so that a database shared with others who use Alembic stays clear.
An empty database, and one made before the schema was versioned, are brought to the head by the same steps.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, column, select, table

VERSION_TABLE = "clinical_schema"
HEAD = "0002"
"""The newest revision in `migrations/versions`, known without loading Alembic."""

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 7203114  # PostgreSQL: who migrates; SQLite has one writer anyway


class SchemaError(RuntimeError):
    """The database's schema is not the one that this version works with; the message gives the remedy."""


@dataclass(frozen=True)
class Standing:
    """`revision`: of the database, None when it has none. `known`: this version of the platform has that revision."""

    revision: str | None
    known: bool

    @property
    def current(self) -> bool:
        return self.revision == HEAD


def standing(engine: Engine) -> Standing:
    """Read only; an empty database has no revision."""
    with engine.connect().execution_options(readonly=True) as connection, connection.begin():
        return _standing(connection)


def make_current(engine: Engine) -> None:
    """Upgrade unless the schema is current; on Kubernetes a PostgreSQL database is left to the migration Job.

    Raises:
        SchemaError: made by a newer version of the platform, or waiting for the Job.
    """
    found = standing(engine)
    if found.current:
        return
    by_job = os.environ.get("CLINICAL_DEPLOYMENT") == "kubernetes" and engine.dialect.name == "postgresql"
    if by_job and found.known:
        raise SchemaError(
            f"the database has schema {found.revision or 'none'} and this version works with {HEAD}; "
            "run the migration Job (`clinical database upgrade`), then this starts"
        )
    upgrade(engine)


def upgrade(engine: Engine) -> str | None:
    """Bring the schema to `HEAD` in one transaction, one process at a time; returns the revision found before.

    Raises:
        SchemaError: made by a newer version of the platform, or the tables there are not the platform's.
    """
    from clinical_assets.foundation.migrations.steps import ForeignSchema

    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        found = _standing(connection)
        if not found.known:
            raise SchemaError(
                f"the database has schema {found.revision}, which this version of the platform does not know: a newer "
                f"version upgraded it (this one works with {HEAD}). Install that version, or restore a backup made "
                "before the upgrade with `clinical restore`"
            )
        if not found.current:
            try:
                make_within(connection)
            except ForeignSchema as error:
                raise SchemaError(str(error)) from error
        return found.revision


def _standing(connection: Connection) -> Standing:
    if not connection.dialect.has_table(connection, VERSION_TABLE):
        return Standing(None, True)
    revision = connection.execute(select(column("version_num")).select_from(table(VERSION_TABLE))).scalar()
    return Standing(revision, revision in (None, HEAD) or knows(revision))


def _scripts():
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(_MIGRATIONS))


def make_within(connection: Connection, revision: str = HEAD) -> None:
    """Run the steps from where the database stands to `revision`, as part of the caller's transaction."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext

    scripts = _scripts()
    steps = EnvironmentContext(Config(), scripts, fn=lambda found, _: scripts._upgrade_revs(revision, found))
    with steps:
        steps.configure(connection=connection, version_table=VERSION_TABLE)
        steps.run_migrations()


def knows(revision: str) -> bool:
    """Whether this version of the platform has that revision."""
    return revision in {script.revision for script in _scripts().walk_revisions()}
