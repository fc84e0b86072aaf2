"""Predictions and outcomes: written exactly once, in one common order. Nothing here says what they mean."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Row, func, select, tuple_

from clinical_assets.audit.chain import HashChain, snapshot
from clinical_assets.foundation.outages import repeatable
from clinical_assets.rollout.entries import (
    GROUP_SEPARATOR,
    Arm,
    ArmCount,
    Outcome,
    OutcomeConflict,
    Prediction,
    PredictionStatus,
    Recorded,
    UnknownRequest,
)
from clinical_assets.rollout.tables import memberships, outcomes, predictions

T = TypeVar("T")

EVENTS = "journal"
LOOKUP = 400  # keys in one query; SQLite's oldest limit is 999 bound values


class PredictionLog:
    """Durable when the call returns. Writers queue up, so that `seq` is the order of commit on both databases."""

    def __init__(self, engine: Engine, wall: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self.wall = wall
        self._predictions = HashChain(predictions, sequence=EVENTS)
        self._outcomes = HashChain(outcomes, sequence=EVENTS)
        self._memberships = HashChain(memberships)

    @repeatable
    def record_predictions(self, entries: Sequence[Prediction]) -> Recorded:
        """Store each (request_id, digest) once; a repeat is counted, never stored.

        A request id that comes back with another patient or score is reported in `conflicts`; the first entry stays.
        """
        wanted: dict[tuple[str, str], Prediction] = {}
        conflicts = set()
        for entry in entries:
            first = wanted.setdefault((entry.request_id, entry.digest), entry)
            if _identity(first) != _identity(entry):
                conflicts.add((entry.request_id, entry.digest))
        with self.engine.begin() as connection:
            self._predictions.lock(connection)
            for key, row in _known_predictions(connection, list(wanted)):
                if _identity(row) != _identity(wanted.pop(key)):
                    conflicts.add(key)
            recorded_at = self.wall()
            self._predictions.append(
                connection, [_row(entry) | {"recorded_at": recorded_at} for entry in wanted.values()]
            )
            self._record_groups(connection, wanted.values())
        return Recorded(len(wanted), len(entries) - len(wanted), tuple(sorted(conflicts)))

    def _record_groups(self, connection: Connection, entries: Iterable[Prediction]) -> None:
        """Keep each request's groups once, whichever of the models told them first."""
        told = {(e.request_id, e.cancer): GROUP_SEPARATOR.join(e.groups) for e in entries if e.groups}
        for keys in _slices(list(told)):
            query = select(memberships.c.request_id, memberships.c.cancer).where(
                tuple_(memberships.c.request_id, memberships.c.cancer).in_(keys)
            )
            for row in connection.execute(query):
                told.pop((row.request_id, row.cancer))
        rows = [{"request_id": request, "cancer": cancer, "groups": said} for (request, cancer), said in told.items()]
        if rows:
            self._memberships.append(connection, rows)

    @repeatable
    def record_outcomes(self, entries: Sequence[Outcome]) -> Recorded:
        """Store one outcome per request; posting the same one again changes nothing. All or nothing.

        Raises:
            OutcomeConflict: another outcome is stored for the request (or given twice in `entries`).
            UnknownRequest: no prediction was logged for the request and cancer type.
        """
        wanted: dict[tuple[str, str], Outcome] = {}
        for entry in entries:
            _same_outcome(wanted.setdefault((entry.request_id, entry.cancer), entry), entry)
        with self.engine.begin() as connection:
            self._outcomes.lock(connection)
            known = set()
            for keys in _slices(list(wanted)):
                query = select(predictions.c.request_id, predictions.c.cancer).where(
                    tuple_(predictions.c.request_id, predictions.c.cancer).in_(keys)
                )
                known.update((row.request_id, row.cancer) for row in connection.execute(query))
            for request_id, cancer in wanted.keys() - known:
                raise UnknownRequest(
                    f"{cancer}: no prediction is logged under request id {request_id!r}; "
                    "post the outcome with the request id that the prediction's response carried"
                )
            for keys in _slices(list(wanted)):
                query = select(outcomes).where(tuple_(outcomes.c.request_id, outcomes.c.cancer).in_(keys))
                for row in connection.execute(query):
                    _same_outcome(row, wanted.pop((row.request_id, row.cancer)))
            recorded_at = self.wall()
            self._outcomes.append(
                connection, [asdict(entry) | {"recorded_at": recorded_at} for entry in wanted.values()]
            )
        return Recorded(len(wanted), len(entries) - len(wanted))

    def arm_counts(self, rollout_id: str, after_seq: int = 0) -> list[ArmCount]:
        """Requests and distinct patients per arm, digest, propensity and status."""
        keys = (predictions.c.arm, predictions.c.digest, predictions.c.propensity, predictions.c.status)
        query = (
            select(
                *keys,
                func.count().label("requests"),
                func.count(predictions.c.patient.distinct()).label("patients"),
                func.min(predictions.c.predicted_at).label("first_at"),
                func.max(predictions.c.predicted_at).label("last_at"),
            )
            .where(predictions.c.rollout_id == rollout_id, predictions.c.seq > after_seq)
            .group_by(*keys)
            .order_by(*keys)
        )
        with snapshot(self.engine) as connection:
            return [
                ArmCount(Arm(arm), digest, propensity, PredictionStatus(status), *counts)
                for arm, digest, propensity, status, *counts in connection.execute(query)
            ]


_STORED = tuple(field.name for field in fields(Prediction) if field.name != "groups")


def _known_predictions(connection: Connection, keys: list[tuple[str, str]]) -> list[tuple[tuple[str, str], Row[Any]]]:
    found = []
    for part in _slices(keys):
        query = select(predictions).where(tuple_(predictions.c.request_id, predictions.c.digest).in_(part))
        found.extend(((row.request_id, row.digest), row) for row in connection.execute(query))
    return found


def _row(entry: Prediction) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in _STORED}  # `asdict` copies deeply, at twice the cost of the rest


def _identity(entry: Any) -> tuple[Any, ...]:
    return entry.patient, entry.risk, entry.status, entry.arm


def _same_outcome(stored: Any, posted: Outcome) -> None:
    differing = [name for name in ("time", "event", "label") if getattr(stored, name) != getattr(posted, name)]
    if differing:
        raise OutcomeConflict(
            f"{posted.cancer}: request {posted.request_id!r} already has an outcome with another "
            f"{' and '.join(differing)}; outcomes are append-only and the first one stays, nothing was stored"
        )


def _slices(items: list[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), LOOKUP):
        yield items[start : start + LOOKUP]
