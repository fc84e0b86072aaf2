"""A window on the ledger that can only look: it never creates, writes or locks the database that it reads."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool


class LedgerAbsent(RuntimeError):
    """There is no ledger at this place yet, or it cannot be read; the message says which."""


class LedgerWindow:
    """Read-only transactions on one database.

    `identity` changes when an SQLite file is replaced by another (a restored backup, a demo that makes room): whoever
    remembers what was read must then forget it.
    """

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self._sqlite = self._url.get_backend_name() == "sqlite"
        self._engine: Engine = self._open()

    @property
    def identity(self) -> tuple[int, int]:
        """Raises LedgerAbsent where there is no file."""
        if not self._sqlite:
            return (0, 0)
        try:
            found = self._file.stat()
        except OSError as error:
            raise LedgerAbsent(f"no ledger in {self._file.parent} yet") from error
        return found.st_dev, found.st_ino

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All reads see one state, and no writer waits.

        Raises:
            LedgerAbsent: no database, no tables yet, or no answer.
        """
        _ = self.identity
        options = {} if self._sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            reason = type(getattr(error, "orig", None) or error).__name__
            raise LedgerAbsent(f"the ledger cannot be read ({reason}); is the database up and migrated?") from error

    @property
    def _file(self) -> Path:
        return Path(self._url.database or "")

    def _open(self) -> Engine:
        if not self._sqlite:
            return create_engine(self._url, pool_pre_ping=True, hide_parameters=True)

        def connect() -> sqlite3.Connection:
            path = self._file.absolute().as_uri()
            opened = sqlite3.connect(f"{path}?mode=rw", uri=True, timeout=5, check_same_thread=False)
            opened.execute("PRAGMA query_only=ON")
            return opened

        return create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)
