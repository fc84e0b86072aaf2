"""The platform's tables as text, one file a table, in PostgreSQL's COPY format: for a server, and between both kinds.

All tables are read in one snapshot. Neither client programs nor the same version of the server are needed to restore.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Connection, Engine, Float, Integer, MetaData, Table, inspect, select, text

import clinical_assets.audit.records
import clinical_assets.rollout.tick
import clinical_assets.serving.istio.counters
import clinical_assets.serving.istio.snapshots  # noqa: F401  (each declares tables)
from clinical_assets.foundation import schema
from clinical_assets.foundation.database import metadata

ROWS = 5_000
_PLAIN = {"t": "\t", "n": "\n", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = str.maketrans({plain: f"\\{letter}" for letter, plain in _PLAIN.items()} | {"\\": "\\\\"})


def tables() -> tuple[Table, ...]:
    """Every table of the platform."""
    return tuple(metadata.sorted_tables)


def export(engine: Engine, folder: Path) -> None:
    """Write every table to `<table>.tsv` with a line of column names, all as of one moment."""
    if engine.dialect.name == "sqlite":
        _export_file(engine, folder)
        return
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        for table in tables():
            with (folder / f"{table.name}.tsv").open("w", encoding="utf-8", newline="") as file:
                file.write("\t".join(table.columns.keys()) + "\n")
                keys = ", ".join(f'"{column.name}"' for column in table.primary_key)
                query = f'SELECT {_names(table.columns.keys())} FROM "{table.name}" ORDER BY {keys}'
                _cursor(connection).copy_expert(f"COPY ({query}) TO STDOUT", file)


def _export_file(engine: Engine, folder: Path) -> None:
    with engine.connect().execution_options(readonly=True) as connection, connection.begin():
        for table in tables():
            with (folder / f"{table.name}.tsv").open("w", encoding="utf-8", newline="") as file:
                file.write("\t".join(table.columns.keys()) + "\n")
                query = select(table).order_by(*table.primary_key.columns)
                rows = connection.execute(query, execution_options={"yield_per": ROWS})
                file.writelines("\t".join(map(_written, row)) + "\n" for row in rows)


def replace_all(engine: Engine, folder: Path, revision: str) -> None:
    """Make the platform's tables anew from files of schema `revision`, then upgrade; one transaction."""
    with engine.begin() as connection:
        for name in (*(table.name for table in tables()), schema.VERSION_TABLE):
            connection.execute(text(f'DROP TABLE IF EXISTS "{name}"'))
        schema.make_within(connection, revision)
        for file in sorted(folder.glob("*.tsv")):
            with file.open(encoding="utf-8", newline="\n") as lines:
                names = next(lines).removesuffix("\n").split("\t")
                if connection.dialect.name == "postgresql":
                    _cursor(connection).copy_expert(f'COPY "{file.stem}" ({_names(names)}) FROM STDIN', lines)
                    continue
                table = Table(file.stem, MetaData(), autoload_with=connection)
                for rows in _read([table.c[name] for name in names], lines):
                    connection.execute(table.insert(), rows)
        schema.make_within(connection)


def empty(engine: Engine) -> bool:
    """Whether no table of the platform holds a row."""
    present = set(inspect(engine).get_table_names())
    with engine.connect().execution_options(readonly=True) as connection:
        held = (table for table in tables() if table.name in present)
        return not any(connection.execute(select(text("1")).select_from(table).limit(1)).first() for table in held)


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()


def _names(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _written(value: Any) -> str:
    return "\\N" if value is None else value.translate(_ESCAPE) if isinstance(value, str) else repr(value)


def _read(columns: list[Column[Any]], lines: Iterator[str]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for line in lines:
        cells = line.removesuffix("\n").split("\t")
        rows.append({c.name: _value(c, cell) for c, cell in zip(columns, cells, strict=True)})
        if len(rows) == ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def _value(column: Column[Any], cell: str) -> Any:
    if cell == "\\N":
        return None
    if isinstance(column.type, Integer):
        return int(cell)
    return float(cell) if isinstance(column.type, Float) else _unescaped(cell)


def _unescaped(cell: str) -> str:
    letters = iter(cell)
    return "".join(letter if letter != "\\" else _plain(next(letters)) for letter in letters)


def _plain(letter: str) -> str:
    return _PLAIN.get(letter, letter)
