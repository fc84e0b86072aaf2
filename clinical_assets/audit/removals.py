"""Rows removed from a chain, signed for by the platform: the chain goes on to verify, and nobody else can remove any.

For every gap the hash before it, the hash of its last row and the number of rows are kept in a chain of their own that
is sealed with each entry. A gap nobody signed for is a fault, as before.
"""

from __future__ import annotations

import json

from sqlalchemy import Column, ColumnElement, Connection, Integer, String, case, delete, func, select

from clinical_assets.audit.chain import (
    GENESIS,
    ChainState,
    Gap,
    HashChain,
    body_columns,
    chained_table,
    heads,
)
from clinical_assets.audit.keys import PLATFORM, KeyStore, Signer
from clinical_assets.foundation.canonical import canonical_json
from clinical_assets.foundation.migrations.append_only import removal_allowed

removals = chained_table(
    "removals",
    Column("chain", String(64), nullable=False),
    Column("rows", Integer, nullable=False),
    Column("at_utc", String(32), nullable=False),
    *body_columns(),  # the gaps
)

_chain = HashChain(removals)


def verify_removals(connection: Connection, keys: KeyStore | None) -> ChainState:
    return _chain.verify(connection, keys, PLATFORM, every_row_sealed=True)


def gaps(connection: Connection, chain: str) -> dict[str, Gap]:
    """By the hash after which each begins. Trust them after `verify_removals`."""
    query = select(removals.c.body).where(removals.c.chain == chain).order_by(removals.c.seq)
    found = (gap for body in connection.execute(query).scalars() for gap in json.loads(body))
    return {before: Gap(rows, last) for before, rows, last in found}


def remove(connection: Connection, chain: HashChain, which: ColumnElement[bool], signer: Signer, at_utc: str) -> int:
    """Remove the rows for which `which` holds and sign for the gaps; returns how many were removed.

    The last row of the table and the row that a seal covers stay: positions and seals go on to mean what they meant.
    """
    chain.lock(connection)
    table = chain.table
    sealed = connection.execute(select(heads.c.sealed_head).where(heads.c.chain == chain.name)).scalar() or GENESIS
    last = connection.execute(select(func.max(table.c.seq))).scalar()
    chosen = which & (table.c.seq != last) & (table.c.entry_hash != sealed)
    flag = case((chosen, 1), else_=0).label("chosen")
    query = select(table.c.previous, table.c.entry_hash, flag).order_by(table.c.seq)
    found: list[tuple[str, int, str]] = []
    for row in connection.execute(query, execution_options={"yield_per": 2000}):
        if not row.chosen:
            continue
        if found and found[-1][2] == row.previous:
            before, rows, _ = found.pop()
            found.append((before, rows + 1, row.entry_hash))
        else:
            found.append((row.previous, 1, row.entry_hash))
    total = sum(rows for _, rows, _ in found)
    if total:
        with removal_allowed(connection, table.name):
            connection.execute(delete(table).where(chosen))
        row = {"chain": chain.name, "rows": total, "at_utc": at_utc, "body": canonical_json(found).decode()}
        _chain.append(connection, [row], signer, at_utc)
    return total
