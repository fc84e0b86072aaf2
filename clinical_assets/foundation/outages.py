"""A database server that restarts: connections wait for it, and transactions that may be repeated are repeated.

Waiting for a connection is always safe, because nothing has been sent. A connection lost inside a transaction leaves
open whether its commit arrived, so only what gives the same result twice is done again.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.exc import DBAPIError

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a connection is tried for; a restart of PostgreSQL takes seconds, a failover to a replica less than this."""

REPEATS = 3
_FIRST_S, _LONGEST_S = 0.05, 2.0
_PASSING = (
    *(
        "connection refused",
        "starting up",
        "not yet accepting",
        "shutting down",
        "in recovery mode",
        "terminating connection",
    ),
    *("server closed the connection", "connection reset", "timeout expired", "no route to host", "name resolution"),
)
logger = logging.getLogger(__name__)


def connect_patiently(dialect: Any, _record: Any, arguments: Any, settings: Any) -> Any:
    """SQLAlchemy's `do_connect`: try again with growing pauses while the server says that it is away for a while."""
    give_up = time.monotonic() + PATIENCE_S
    pause = _FIRST_S
    while True:
        try:
            return dialect.connect(*arguments, **settings)
        except dialect.dbapi.OperationalError as error:
            passing = any(sign in str(error).lower() for sign in _PASSING)
            if not passing or time.monotonic() + pause > give_up:
                raise
            if pause == _FIRST_S:
                logger.warning("the database is away (%s); waiting for it", str(error).strip().splitlines()[-1])
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, _LONGEST_S)


def repeatable(work: Callable[P, T]) -> Callable[P, T]:
    """For a method that is one transaction and gives the same result twice: done again when its connection is lost."""

    @wraps(work)
    def patient(*args: P.args, **kwargs: P.kwargs) -> T:
        for _ in range(REPEATS):
            try:
                return work(*args, **kwargs)
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                logger.warning("the connection was lost in %s; doing it again", work.__name__)
        return work(*args, **kwargs)

    return patient
