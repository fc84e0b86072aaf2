"""Rollouts, their transitions and the intents to write a route. A rollout's state is what its last transition says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, func, select

from clinical_assets.audit.chain import HashChain, snapshot
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.rollout.entries import (
    Fence,
    LedgerError,
    Progress,
    Rollout,
    RolloutConflict,
    StoredTransition,
    Transition,
)
from clinical_assets.rollout.leases import check_fence
from clinical_assets.rollout.tables import rollouts, transitions

FIRST_STAGE = "shadow"
_IN_COLUMNS = ("rollout_id", "cancer", "action", "stage", "weight", "is_open", "actor", "rule", "at")


class RolloutHistory:
    """Opening, deciding and reading rollouts. One rollout may be open per cancer type."""

    def __init__(self, engine: Engine, wall: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self.wall = wall
        self._rollouts = HashChain(rollouts)
        self._transitions = HashChain(transitions)

    def open_rollout(
        self, cancer: str, champion: str, challenger: str, policy: Mapping[str, Any], author: str, opened_at: float
    ) -> Rollout:
        """Open the challenger's rollout at stage `shadow`; the same one already open is returned unchanged.

        Raises:
            RolloutConflict: another rollout of this cancer type is open, or challenger and champion are one model.
        """
        if champion == challenger:
            raise RolloutConflict(f"{cancer}: challenger and champion are the same model {champion[:12]}")
        body = canonical_json(dict(policy))
        with self.engine.begin() as connection:
            self._rollouts.lock(connection)
            numbered = 0
            for row in connection.execute(select(rollouts).where(rollouts.c.cancer == cancer)).all():
                numbered += 1
                present = _rollout(row)
                if not _progress(connection, present).is_open:
                    continue
                if (present.champion, present.challenger, present.policy_digest) == (
                    champion,
                    challenger,
                    sha256_bytes(body),
                ):
                    return present
                raise RolloutConflict(
                    f"{cancer}: rollout {present.id} of challenger {present.challenger[:12]} is still open; "
                    f"finish it or roll it back (clinical rollback {cancer}) before opening another"
                )
            row = {
                "id": f"{cancer}-{numbered + 1:04d}",
                "cancer": cancer,
                "champion": champion,
                "challenger": challenger,
                "policy_digest": sha256_bytes(body),
                "author": author,
                "opened_at": opened_at,
                "recorded_at": self.wall(),
                "body": body.decode(),
            }
            self._rollouts.append(connection, [row])
            return _rollout(connection.execute(select(rollouts).where(rollouts.c.id == row["id"])).one())

    def rollout(self, cancer: str) -> Rollout | None:
        """The open rollout of a cancer type."""
        return next(iter(self.rollouts(active=True, cancer=cancer)), None)

    def rollout_by_id(self, rollout_id: str) -> Rollout:
        """Raises LedgerError for an unknown id."""
        with snapshot(self.engine) as connection:
            return _rollout_by_id(connection, rollout_id)

    def rollouts(self, active: bool | None = None, cancer: str | None = None) -> list[Rollout]:
        """All rollouts in order of opening, or only the open (`True`) or closed (`False`) ones; of one cancer type."""
        with snapshot(self.engine) as connection:
            return [_rollout(row) for row in connection.execute(_listed(active, cancer))]

    def changed_since(self, rollout: int, transition: int) -> tuple[set[str], int, int]:
        """Cancer types with a rollout or a transition behind these rows of the ledger, and the last rows now."""
        changed: set[str] = set()
        last = [rollout, transition]
        with snapshot(self.engine) as connection:
            for position, table in enumerate((rollouts, transitions)):
                query = select(table.c.cancer, func.max(table.c.seq)).where(table.c.seq > last[position])
                for cancer, seq in connection.execute(query.group_by(table.c.cancer)).all():
                    changed.add(cancer)
                    last[position] = max(last[position], seq)
        return changed, last[0], last[1]

    def standings(self, active: bool | None = None, cancer: str | None = None) -> list[Progress]:
        """Where each of them stands, at a cost of a few queries however many there are."""
        with snapshot(self.engine) as connection:
            found = [_rollout(row) for row in connection.execute(_listed(active, cancer))]
            steps: dict[str, list[Any]] = {}
            columns = (transitions.c.seq, transitions.c.rollout_id, transitions.c.stage, transitions.c.at)
            chosen = _listed(active, cancer).with_only_columns(rollouts.c.id).order_by(None)
            query = select(*columns).where(transitions.c.rollout_id.in_(chosen)).order_by(transitions.c.seq)
            for row in connection.execute(query):
                steps.setdefault(row.rollout_id, []).append(row)
            latest = select(transitions).where(transitions.c.seq.in_(_latest()), transitions.c.rollout_id.in_(chosen))
            last = {row.rollout_id: _stored_transition(row) for row in connection.execute(latest)}
            return [_standing(rollout, steps.get(rollout.id, []), last.get(rollout.id)) for rollout in found]

    def append_transition(self, transition: Transition, fence: Fence) -> StoredTransition:
        """Add a decision under the lease of `fence`.

        Raises:
            StaleLease: the lease was overtaken or released; nothing was written.
            RolloutConflict: the rollout is closed.
            LedgerError: unknown rollout, another cancer type, or a weight that is no integer in 0..100.
        """
        with self.engine.begin() as connection:
            check_fence(connection, fence)
            self._transitions.lock(connection)
            rollout = _rollout_by_id(connection, transition.rollout_id)
            if transition.cancer != rollout.cancer:
                raise LedgerError(f"{transition.cancer}: rollout {rollout.id} belongs to {rollout.cancer}")
            if not isinstance(transition.weight, int) or not 0 <= transition.weight <= 100:
                raise LedgerError(f"{rollout.cancer}: weight {transition.weight!r} is not an integer in 0..100")
            if not _progress(connection, rollout).is_open:
                raise RolloutConflict(f"{rollout.cancer}: rollout {rollout.id} is closed; open a new one")
            values = asdict(transition)
            row = {name: values.pop(name) for name in _IN_COLUMNS}
            row |= {"recorded_at": self.wall(), "fencing_token": fence.token}
            lineage = {name: getattr(rollout, name) for name in ("policy_digest", "champion", "challenger")}
            row["body"] = canonical_json(values | lineage).decode()
            self._transitions.append(connection, [row])
            query = select(transitions).order_by(transitions.c.seq.desc()).limit(1)
            return _stored_transition(connection.execute(query).one())

    def transitions(self, rollout_id: str) -> list[StoredTransition]:
        with snapshot(self.engine) as connection:
            return _transitions_of(connection, rollout_id)

    def progress(self, rollout_id: str) -> Progress:
        """Stage and weight in force, and since when. Raises LedgerError for an unknown id."""
        with snapshot(self.engine) as connection:
            return _progress(connection, _rollout_by_id(connection, rollout_id))


def _listed(active: bool | None, cancer: str | None) -> Select[Any]:
    query = select(rollouts).order_by(rollouts.c.seq)
    if cancer is not None:
        query = query.where(rollouts.c.cancer == cancer)
    if active is None:
        return query
    closed = select(transitions.c.rollout_id).where(transitions.c.is_open == 0)  # a closed rollout gets no more rows
    return query.where(rollouts.c.id.not_in(closed) if active else rollouts.c.id.in_(closed))


def _latest() -> Select[Any]:
    return select(func.max(transitions.c.seq)).group_by(transitions.c.rollout_id)


def _standing(rollout: Rollout, steps: Sequence[Any], last: StoredTransition | None) -> Progress:
    """`steps`: stage and clinical time of each decision so far, in order."""
    stage, entered_at = FIRST_STAGE, rollout.opened_at
    for step in steps:
        if step.stage != stage:
            stage, entered_at = step.stage, step.at
    if last is None:
        return Progress(rollout, stage, 0, True, entered_at, None)
    return Progress(rollout, stage, last.transition.weight, last.transition.is_open, entered_at, last)


def _progress(connection: Connection, rollout: Rollout) -> Progress:
    of_rollout = transitions.c.rollout_id == rollout.id
    query = select(transitions.c.stage, transitions.c.at).where(of_rollout).order_by(transitions.c.seq)
    last = connection.execute(select(transitions).where(of_rollout).order_by(transitions.c.seq.desc()).limit(1)).first()
    return _standing(rollout, connection.execute(query).all(), None if last is None else _stored_transition(last))


def _transitions_of(connection: Connection, rollout_id: str) -> list[StoredTransition]:
    query = select(transitions).where(transitions.c.rollout_id == rollout_id).order_by(transitions.c.seq)
    return [_stored_transition(row) for row in connection.execute(query).all()]


def _rollout_by_id(connection: Connection, rollout_id: str) -> Rollout:
    row = connection.execute(select(rollouts).where(rollouts.c.id == rollout_id)).first()
    if row is None:
        raise LedgerError(f"no rollout {rollout_id!r} in the ledger; `clinical status` lists them")
    return _rollout(row)


def _rollout(row: Row[Any]) -> Rollout:
    return Rollout(
        id=row.id,
        cancer=row.cancer,
        champion=row.champion,
        challenger=row.challenger,
        policy=json.loads(row.body),
        policy_digest=row.policy_digest,
        author=row.author,
        opened_at=row.opened_at,
    )


def _stored_transition(row: Row[Any]) -> StoredTransition:
    body = json.loads(row.body)
    lineage = {name: body.pop(name) for name in ("policy_digest", "champion", "challenger")}
    body["interval"] = tuple(body["interval"]) if body["interval"] else None
    columns = {name: getattr(row, name) for name in _IN_COLUMNS} | {"is_open": bool(row.is_open)}
    return StoredTransition(
        seq=row.seq,
        transition=Transition(**columns, **body),
        recorded_at=row.recorded_at,
        fencing_token=row.fencing_token,
        previous=row.previous,
        entry_hash=row.entry_hash,
        **lineage,
    )
