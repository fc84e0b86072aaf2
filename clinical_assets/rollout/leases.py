"""Leases with fencing tokens: at most one holder decides, and a holder that was overtaken can no longer write."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.dialects import postgresql, sqlite

from clinical_assets.rollout.entries import Fence, StaleLease
from clinical_assets.rollout.tables import leases


class Leases:
    """A token rises with every change of holder; writes carry it and are refused when it is no longer the latest.

    A lease that has expired but was not taken over still counts: its holder is late, not overtaken.
    """

    def __init__(self, engine: Engine, wall: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self.wall = wall

    def acquire_lease(self, name: str, holder: str, ttl: float) -> int | None:
        """Fencing token, or None while anyone (also the same `holder`) has an unexpired lease. `ttl` in seconds."""
        now = self.wall()
        insert = postgresql.insert if self.engine.dialect.name == "postgresql" else sqlite.insert
        with self.engine.begin() as connection:
            free = {"name": name, "holder": "", "token": 0, "expires": 0.0}
            connection.execute(insert(leases).on_conflict_do_nothing(), free)
            row = connection.execute(select(leases).where(leases.c.name == name).with_for_update()).one()
            if row.holder and row.expires > now:
                return None
            values = {"holder": holder, "token": row.token + 1, "expires": now + ttl}
            connection.execute(update(leases).where(leases.c.name == name).values(**values))
            return row.token + 1

    def renew_lease(self, fence: Fence, ttl: float) -> None:
        """Push the expiry to `ttl` seconds from now. Raises StaleLease."""
        with self.engine.begin() as connection:
            check_fence(connection, fence)
            values = {"expires": self.wall() + ttl}
            connection.execute(update(leases).where(leases.c.name == fence.name).values(**values))

    def release_lease(self, fence: Fence) -> None:
        """Give the lease back; without effect when it was already overtaken."""
        held = (leases.c.name == fence.name) & (leases.c.token == fence.token)
        with self.engine.begin() as connection:
            connection.execute(update(leases).where(held).values(holder="", expires=0.0))


def check_fence(connection: Connection, fence: Fence) -> None:
    """Hold the lease row until the transaction ends. Raises StaleLease when `fence` is not the latest holder's."""
    row = connection.execute(select(leases).where(leases.c.name == fence.name).with_for_update()).first()
    if row is None or row.token != fence.token or not row.holder:
        current = "nobody" if row is None or not row.holder else f"{row.holder} (token {row.token})"
        raise StaleLease(
            f"lease {fence.name}: token {fence.token} is stale, the lease is held by {current}; nothing was written"
        )
