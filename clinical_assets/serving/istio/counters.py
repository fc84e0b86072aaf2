"""Counters that only rise, from the many series of a cluster whose pods come and go.

Each series (one pod, one response code) starts at zero and starts anew when its process restarts. What a series had
counted before is kept, so that nothing is lost and nothing counted twice.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Column, Engine, Float, String, Table, bindparam, delete, insert, select

from clinical_assets.foundation.database import metadata

counter_series = Table(
    "counter_series",
    metadata,
    Column("cancer", String(64), primary_key=True),
    Column("series", String(512), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("past", Float, nullable=False),
    Column("last", Float, nullable=False),
)


class CounterStore:
    """Past and latest value of every series, per cancer type; the only rows of the ledger database that change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def total(
        self, cancer: str, seen: Mapping[str, tuple[str, str, float]], together: Mapping[str, str] | None = None
    ) -> dict[tuple[str, str], int]:
        """Take in the latest values, by series: (digest, kind, value). Returns the sums by (digest, kind).

        A value below the last one is a restart: the last one moves to the past. A series that is gone keeps its value.

        Args:
            together: by series, the process that counts it; where one of its series fell, all of them began anew.
        """
        together = together or {}
        table = counter_series
        with self._engine.begin() as connection:
            held = {
                row.series: row
                for row in connection.execute(select(table).where(table.c.cancer == cancer).with_for_update())
            }
            fell = {series for series, (_, _, value) in seen.items() if series in held and value < held[series].last}
            anew = {together[series] for series in fell if series in together}
            rows = []
            for series, (digest, kind, value) in seen.items():
                known = held.get(series)
                restarted = series in fell or together.get(series) in anew
                if known is not None and known.last == value and not restarted:
                    continue
                past = 0.0 if known is None else known.past + (known.last if restarted else 0.0)
                row = {"cancer": cancer, "series": series, "digest": digest, "kind": kind, "past": past, "last": value}
                rows.append(row)
            if rows:
                one = (table.c.cancer == cancer, table.c.series == bindparam("of"))
                connection.execute(delete(table).where(*one), [{"of": row["series"]} for row in rows])
                connection.execute(insert(table), rows)
            sums: dict[tuple[str, str], float] = {}
            for row in connection.execute(select(table).where(table.c.cancer == cancer)):
                key = (row.digest, row.kind)
                sums[key] = sums.get(key, 0.0) + row.past + row.last
        return {key: round(value) for key, value in sums.items()}
