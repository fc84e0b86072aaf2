"""One SQLAlchemy engine per database URL: SQLite in WAL mode with full synchronisation, or PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from functools import lru_cache
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url

from clinical_assets.foundation.outages import connect_patiently
from clinical_assets.foundation.schema import make_current

metadata = MetaData()


@lru_cache(maxsize=16)
def engine_for(url: str) -> Engine:
    """Create (once per process) the engine for `url`.

    Every SQLite transaction takes the write lock at BEGIN, so that no reader upgrades its lock half-way;
    readers that must not wait use `engine.execution_options(readonly=True)`.

    Raises:
        ValueError: a `postgresql://` URL without driver, which SQLAlchemy 2.1 maps to psycopg 3.
    """
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        raise ValueError("write the database URL as postgresql+psycopg2://…, so that the driver is named")
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(parsed, pool_pre_ping=True, hide_parameters=True)  # pseudonyms are not for logs
        event.listen(engine, "do_connect", connect_patiently)
        return engine
    engine = create_engine(parsed, connect_args={"timeout": 30, "check_same_thread": False}, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        connection.execute("PRAGMA busy_timeout=30000")
        _write_ahead(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        readonly = connection.get_execution_options().get("readonly", False)
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """WAL mode; the first to open a new file switches it, for which SQLite does not wait as it does for other locks."""
    give_up = time.monotonic() + 30.0
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def create_tables(engine: Engine) -> None:
    """Bring the schema to this version's; safe to call from several processes, and a look when there is nothing to do.

    Raises:
        SchemaError: made by a newer version of the platform, or waiting for the migration Job.
    """
    make_current(engine)
