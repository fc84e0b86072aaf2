"""Hash-chained tables: each row holds the hash of the row before it, and a head holds length and hash of the last.

An edited, removed, inserted or reordered row breaks a link; a truncated tail contradicts the head. A head may be sealed
(signed), so that whoever can write the database but not sign cannot shorten a chain and its head together. Putting back
a whole older copy of the database is seen only against a seal kept elsewhere (`verify(witness=…)`).

Appends of one chain are serialised: SQLite has one writer, PostgreSQL locks the head row until commit. Rows and head
commit together, so a process killed at any moment leaves a valid chain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Engine, Float, Integer, Row, String, Table, Text, select, update
from sqlalchemy.dialects import postgresql, sqlite

from clinical_assets.audit.keys import KeyStore, Signer
from clinical_assets.audit.seals import Seal, make_seal, sealed_columns
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.foundation.database import metadata

GENESIS = "0" * 64

heads = Table(
    "chain_heads",
    metadata,
    Column("chain", String(64), primary_key=True),
    Column("length", Integer, nullable=False),
    Column("last_seq", Integer, nullable=False),
    Column("head", String(64), nullable=False),
    Column("sealed_length", Integer, nullable=False),
    Column("sealed_head", String(64), nullable=False),
    Column("sealed_utc", String(32), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("signature", String(128), nullable=False),
)


@dataclass(frozen=True)
class ChainState:
    """`problem` names the first fault found; it is empty when `ok`."""

    ok: bool
    entries: int
    problem: str = ""


@dataclass(frozen=True)
class Gap:
    """Rows that were removed and signed for: how many, and the hash of the last of them."""

    rows: int
    last: str


_NOTHING: Mapping[str, Gap] = {}


def chained_table(name: str, *columns: Any) -> Table:
    """A table with the columns of a chain: `seq`, `previous`, `entry_hash` around `columns`.

    Its migration adds the triggers that make it append-only.

    A column `body` (long text) is protected through its neighbour `body_sha256`, so that links can be checked without
    reading the bodies.
    """
    return Table(
        name,
        metadata,
        Column("seq", Integer, primary_key=True, autoincrement=False),
        *columns,
        Column("previous", String(64), nullable=False),
        Column("entry_hash", String(64), nullable=False),
    )


def body_columns() -> tuple[Column[Any], Column[Any]]:
    return Column("body", Text, nullable=False), Column("body_sha256", String(64), nullable=False)


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A read-only transaction in which all reads see the same state, without waiting for writers."""
    options: dict[str, Any] = {"readonly": True}
    if engine.dialect.name == "postgresql":
        options = {"isolation_level": "REPEATABLE READ"}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


class HashChain:
    """Appends to and verifies one chained table.

    Chains given the same `sequence` draw their `seq` from one counter, so that their rows have one common order.
    """

    def __init__(self, table: Table, sequence: str | None = None) -> None:
        self.table = table
        self.name = table.name
        self.sequence = sequence or table.name
        self._columns = [c for c in table.columns if c.name not in ("seq", "previous", "entry_hash", "body")]

    def lock(self, connection: Connection) -> int:
        """Keep other appenders out until the transaction ends; returns the last `seq` given out."""
        return _locked_head(connection, self.sequence).last_seq

    def head(self, connection: Connection) -> str:
        """Entry hash of the last row; other appenders are kept out until the transaction ends."""
        return _locked_head(connection, self.name).head

    def append(
        self, connection: Connection, rows: Sequence[Mapping[str, Any]], signer: Signer | None = None, at_utc: str = ""
    ) -> list[str]:
        """Add `rows` (without chain columns) and return their entry hashes; with a signer, seal the new head.

        Raises:
            ValueError: a number that is not finite, or text holding a NUL character.
        """
        last_seq = self.lock(connection)
        head = _locked_head(connection, self.name)
        if not rows:
            return []
        entries, previous = [], head.head
        for seq, row in enumerate(rows, start=last_seq + 1):
            entry = {column.name: _stored(column, row.get(column.name)) for column in self._columns}
            if "body" in self.table.columns:
                entry["body_sha256"] = sha256_bytes(row["body"].encode())
            entry |= {"seq": seq, "previous": previous}
            previous = self._hash(entry)
            entry["entry_hash"] = previous
            if "body" in self.table.columns:
                entry["body"] = row["body"]
            entries.append(entry)
        connection.execute(self.table.insert(), entries)
        length = head.length + len(entries)
        values = {"length": length, "head": previous}
        if signer:
            values |= sealed_columns(make_seal(self.name, length, previous, at_utc, signer))
        connection.execute(update(heads).where(heads.c.chain == self.name).values(**values))
        connection.execute(update(heads).where(heads.c.chain == self.sequence).values(last_seq=last_seq + len(entries)))
        return [entry["entry_hash"] for entry in entries]

    def seal(self, connection: Connection, signer: Signer, at_utc: str) -> Seal:
        """Sign the present head; keep the returned copy elsewhere to detect a restored older database."""
        head = _locked_head(connection, self.name)
        seal = make_seal(self.name, head.length, head.head, at_utc, signer)
        connection.execute(update(heads).where(heads.c.chain == self.name).values(**sealed_columns(seal)))
        return seal

    def verify(
        self,
        connection: Connection,
        keys: KeyStore | None = None,
        signer_name: str | None = None,
        every_row_sealed: bool = False,
        bodies: bool = True,
        witness: Seal | None = None,
        removed: Mapping[str, Gap] = _NOTHING,
    ) -> ChainState:
        """Recompute every link and compare with the head, its seal and a witness kept elsewhere.

        Args:
            keys: needed to check the seal's and the witness's signatures; without it seals are compared unsigned.
            signer_name: whose key must have signed.
            every_row_sealed: the seal must cover the whole chain (chains whose every append is signed).
            bodies: also recompute the digests of the bodies.
            removed: signed-for gaps, by the hash after which each begins (`audit.removals`).
        """
        head = connection.execute(select(heads).where(heads.c.chain == self.name)).first()
        expected = {0: GENESIS}
        if head is not None:
            problem = self._seal_problem(head, keys, signer_name, every_row_sealed)
            if problem:
                return ChainState(False, head.length, problem)
            expected |= {head.sealed_length: head.sealed_head, head.length: head.head}
        if witness is not None:
            if witness.chain != self.name or (keys and not witness.valid(keys, signer_name)):
                return ChainState(False, 0, f"{self.name}: the witness is not a valid seal of this chain")
            if expected.get(witness.length, witness.head) != witness.head:
                return ChainState(False, 0, f"{self.name}: the head contradicts the witness at row {witness.length}")
            expected[witness.length] = witness.head
        return self._verify_rows(connection, expected, head.length if head is not None else 0, bodies, removed)

    def _verify_rows(
        self,
        connection: Connection,
        expected: dict[int, str],
        length: int,
        bodies: bool,
        removed: Mapping[str, Gap],
    ) -> ChainState:
        with_bodies = bodies and "body" in self.table.columns
        columns = [c for c in self.table.columns if with_bodies or c.name != "body"]
        count, previous = 0, GENESIS
        rows = connection.execute(select(*columns).order_by(self.table.c.seq), execution_options={"yield_per": 2000})
        for row in rows.mappings():
            entry = dict(row)
            while entry["previous"] != previous and previous in removed:
                gap = removed[previous]
                inside = [sealed for sealed in expected if count < sealed < count + gap.rows]
                count, previous = count + gap.rows, gap.last
                if inside or expected.get(count, previous) != previous:
                    return ChainState(False, count, f"{self.name}: the row that was sealed here was removed")
            count += 1
            stored = entry.pop("entry_hash")
            where = f"{self.name} row {count} (seq {entry['seq']})"
            if with_bodies and sha256_bytes(entry.pop("body").encode()) != entry["body_sha256"]:
                return ChainState(False, count, f"{where}: its body was changed after it was written")
            if entry["previous"] != previous:
                return ChainState(False, count, f"{where}: does not follow the row before; one was removed or added")
            if self._hash(entry) != stored:
                return ChainState(False, count, f"{where}: was changed after it was written")
            if expected.get(count, stored) != stored:
                return ChainState(False, count, f"{where}: is not the row that was sealed here")
            previous = stored
        if count != length:
            return ChainState(False, count, f"{self.name}: {length} rows were written, {count} are present")
        if max(expected) > count:
            return ChainState(False, count, f"{self.name}: {max(expected)} rows were sealed, {count} are present")
        return ChainState(True, count)

    def _seal_problem(
        self, head: Row[Any], keys: KeyStore | None, signer_name: str | None, every_row_sealed: bool
    ) -> str:
        if every_row_sealed and head.sealed_length != head.length:
            return f"{self.name}: the seal covers {head.sealed_length} of {head.length} rows"
        seal = Seal(self.name, head.sealed_length, head.sealed_head, head.sealed_utc, head.key_id, head.signature)
        if keys and seal.length and not seal.valid(keys, signer_name):
            return f"{self.name}: the seal of row {seal.length} has no valid signature"
        return ""

    def _hash(self, entry: Mapping[str, Any]) -> str:
        return sha256_bytes(canonical_json({"chain": self.name, **entry}))


def _locked_head(connection: Connection, chain: str) -> Row[Any]:
    query = select(heads).where(heads.c.chain == chain).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
        values = {
            "chain": chain,
            "length": 0,
            "last_seq": 0,
            "head": GENESIS,
            "sealed_length": 0,
            "sealed_head": GENESIS,
        }
        values |= {"sealed_utc": "", "key_id": "", "signature": ""}
        connection.execute(insert(heads).on_conflict_do_nothing(), values)
        row = connection.execute(query).one()
    return row


def _stored(column: Column[Any], value: Any) -> Any:
    """`value` as the database gives it back, so that hashes computed before and after storing agree."""
    if value is None:
        return None
    if isinstance(column.type, Float):
        value = float(value) + 0.0  # SQLite does not keep the sign of zero
        if not math.isfinite(value):
            raise ValueError(f"column {column.name}: {value} is not a finite number")
        return value
    if isinstance(column.type, Integer):
        return int(value)
    value = str(value)
    if "\0" in value:
        raise ValueError(f"column {column.name}: text with a NUL character cannot be stored")
    return value
