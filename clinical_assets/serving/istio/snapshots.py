"""The last confirmed state of each route object, kept outside the cluster, for the day on which it is deleted there."""

from __future__ import annotations

import json
import time
from typing import Any

from sqlalchemy import Column, Engine, Float, Integer, String, Table, Text, delete, insert, select

from clinical_assets.audit.chain import snapshot
from clinical_assets.foundation.database import metadata

_KEPT = ("labels", "annotations", "name", "namespace")

route_snapshots = Table(
    "route_snapshots",
    metadata,
    Column("path", String(256), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("taken_at", Float, nullable=False),
    Column("document", Text, nullable=False),
)


class Snapshots:
    """One row an object, replaced by every confirmed write. `version` goes on rising over a deletion."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def save(self, path: str, version: int, document: dict[str, Any]) -> None:
        kept = {key: value for key, value in document["metadata"].items() if key in _KEPT}
        body = {key: value for key, value in document.items() if key != "status"} | {"metadata": kept}
        row = {"path": path, "version": version, "taken_at": time.time(), "document": json.dumps(body)}
        with self._engine.begin() as connection:
            connection.execute(delete(route_snapshots).where(route_snapshots.c.path == path))
            connection.execute(insert(route_snapshots), row)

    def latest(self, path: str) -> tuple[int, dict[str, Any]] | None:
        """Version and document, without what the API server fills in; `None` if nothing was ever confirmed."""
        with snapshot(self._engine) as connection:
            row = connection.execute(select(route_snapshots).where(route_snapshots.c.path == path)).first()
        return None if row is None else (row.version, json.loads(row.document))
