"""Cohorts in a database (PostgreSQL, SQLite): one table or one query, read-only; the URL comes from the environment."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.kinds import Reading
from clinical_assets.trials.sources.redaction import redacted
from clinical_assets.trials.table_digest import table_sha256

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Executable

    from clinical_assets.trials.sources.spec import SourceSpec

_READ_ONLY = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_SELECTS = re.compile(r"\s*(select|with)\b", re.IGNORECASE)


def read(spec: SourceSpec) -> Reading:
    """Rows of `table` or `query` and the version, in one transaction; sorted by `order_by` as Python compares values,
    whatever the server's collation.

    Raises:
        SourceError: no URL in the environment, another kind of database, a refused connection or query, a query that
            is no single SELECT, or rows that `order_by` does not tell apart.
    """
    with _connection(spec) as connection:
        frame = pd.read_sql_query(_rows(spec), connection)
        version = _version(spec, connection)
    return Reading(_ordered(frame, spec), version=f"{spec.version_query}: {version}" if version else "")


def state(spec: SourceSpec) -> list[str]:
    """The answer of `version_query`; without one, the digest of the rows, which costs the query itself.

    Raises:
        SourceError: as `read`.
    """
    if not spec.version_query:
        return [spec.database, table_sha256(read(spec).frame)]
    with _connection(spec) as connection:
        return [spec.database, _version(spec, connection)]


def _rows(spec: SourceSpec) -> Executable:
    import sqlalchemy

    if spec.query:
        return _statement(spec, spec.query)
    schema, _, name = spec.table.rpartition(".")
    return sqlalchemy.select(sqlalchemy.text("*")).select_from(sqlalchemy.table(name, schema=schema or None))


def _version(spec: SourceSpec, connection: Connection) -> str:
    if not spec.version_query:
        return ""
    rows = connection.execute(_statement(spec, spec.version_query)).fetchmany(2)
    if len(rows) != 1 or len(rows[0]) != 1:
        raise SourceError(f"{spec.label}: `source.version_query` must give one row with one value")
    return str(rows[0][0])


def _statement(spec: SourceSpec, query: str) -> Executable:
    """`query` as it stands: a colon or a per cent sign in it is no parameter."""
    import sqlalchemy

    text = query.strip().removesuffix(";")
    if ";" in text or not _SELECTS.match(text):
        raise SourceError(f"{spec.label}: a query must be one SELECT without `;`; use a view for anything longer")
    return sqlalchemy.text(text.replace(":", r"\:"))


def _ordered(frame: pd.DataFrame, spec: SourceSpec) -> pd.DataFrame:
    key = list(spec.order_by)
    if unknown := sorted(set(key) - set(frame.columns)):
        raise SourceError(f"{spec.label}: `source.order_by` names {', '.join(unknown)}, which the rows do not have")
    if alike := int(frame.duplicated(key, keep=False).sum() + frame[key].isna().any(axis=1).sum()):
        raise SourceError(
            f"{spec.label}: {alike} of {len(frame)} rows are not told apart by `source.order_by` ({', '.join(key)}), "
            "so that their order could change from read to read; add a column that makes it unique"
        )
    return frame.sort_values(key, ignore_index=True)


@contextmanager
def _connection(spec: SourceSpec) -> Iterator[Connection]:
    from sqlalchemy.exc import SQLAlchemyError

    url = _url(spec)
    engine = _engine(spec, url)
    try:
        with engine.connect() as connection:
            yield connection
    except SQLAlchemyError as error:
        reason = redacted(getattr(error, "orig", None) or error, url.password, url.render_as_string(False))
        raise SourceError(
            f"{spec.label} cannot be read: {reason}; check the query, the rights of the database user, and "
            f"the environment variable {spec.database}"
        ) from None
    finally:
        engine.dispose()


def _url(spec: SourceSpec) -> URL:
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError

    text = os.environ.get(spec.database, "")
    if not text:
        raise SourceError(
            f"the environment variable {spec.database} is not set; set it to the database's URL, for instance "
            "postgresql://user:password@host/name"
        )
    try:
        url = sqlalchemy.make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):
        raise SourceError(f"the environment variable {spec.database} holds no database URL; correct it") from None
    if backend not in ("postgresql", "sqlite"):
        raise SourceError(
            f"{spec.database} names a database of kind {backend}; PostgreSQL and SQLite can be read, for others export "
            "a Parquet file"
        )
    return url.set(drivername="postgresql+psycopg2") if url.drivername == "postgresql" else url


def _engine(spec: SourceSpec, url: URL) -> Engine:
    """An engine that can only read: the server refuses a write even if the database user may."""
    import sqlalchemy

    if url.get_backend_name() == "postgresql":
        return sqlalchemy.create_engine(url, execution_options=_READ_ONLY, poolclass=sqlalchemy.NullPool)
    file = Path(url.database or ":memory:").expanduser().absolute()
    if not file.is_file():
        raise SourceError(f"{spec.database} names the SQLite file {file.name}, which does not exist; correct it")
    return sqlalchemy.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True),
        poolclass=sqlalchemy.NullPool,
    )
