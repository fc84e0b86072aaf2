"""One SQLAlchemy engine per database URL: SQLite in WAL mode with full synchronisation, or PostgreSQL."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url

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
        return create_engine(parsed, pool_pre_ping=True)
    engine = create_engine(parsed, connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        readonly = connection.get_execution_options().get("readonly", False)
        connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")

    return engine


def create_tables(engine: Engine) -> None:
    """Create the tables that do not exist yet (safe to call from several processes)."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # CREATE TABLE IF NOT EXISTS alone races there
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7203114)")
        metadata.create_all(connection)
