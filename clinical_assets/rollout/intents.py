"""Intents: a route is stored before it is written, so that a crash leaves a trace to finish or revert."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection, Engine, select

from clinical_assets.audit.chain import HashChain, snapshot
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.rollout.entries import Fence, Intent, IntentStep, LedgerError
from clinical_assets.rollout.leases import check_fence
from clinical_assets.rollout.tables import intents

_ENDS = (IntentStep.DONE, IntentStep.REVERTED)
_NEXT = {
    IntentStep.INTENT: (IntentStep.WRITTEN, IntentStep.REVERTED),
    IntentStep.WRITTEN: (IntentStep.OBSERVED, IntentStep.REVERTED),
    IntentStep.OBSERVED: (IntentStep.DONE, IntentStep.REVERTED),
}


class Intents:
    """Each step is its own append-only row, written under the lease."""

    def __init__(self, engine: Engine, wall: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self.wall = wall
        self._intents = HashChain(intents)

    def begin_intent(self, rollout_id: str, cancer: str, route: Mapping[str, Any], at: float, fence: Fence) -> Intent:
        """Record the route that is about to be written.

        Raises:
            StaleLease: the lease was overtaken; nothing was written.
            LedgerError: an earlier intent of this cancer type is unfinished.
        """
        with self.engine.begin() as connection:
            check_fence(connection, fence)
            position = self._intents.lock(connection)
            for pending in _pending(connection, cancer):
                raise LedgerError(f"{cancer}: intent {pending.id} is unfinished; finish or revert it first")
            intent_id = sha256_bytes(canonical_json([cancer, rollout_id, position, fence.token]))[:16]
            row = self._row(intent_id, rollout_id, cancer, IntentStep.INTENT, route, at, fence)
            self._intents.append(connection, [row])
            return _intents(connection, intents.c.intent_id == intent_id)[0]

    def advance_intent(
        self, intent_id: str, step: IntentStep, at: float, fence: Fence, detail: Mapping[str, Any] | None = None
    ) -> Intent:
        """Record the next step; repeating the step that is already recorded changes nothing.

        Raises:
            StaleLease: the lease was overtaken; nothing was written.
            LedgerError: unknown intent, or a step that does not follow the one recorded.
        """
        with self.engine.begin() as connection:
            check_fence(connection, fence)
            self._intents.lock(connection)
            found = _intents(connection, intents.c.intent_id == intent_id)
            if not found:
                raise LedgerError(f"no intent {intent_id!r} in the ledger")
            intent = found[0]
            if intent.step == step:
                return intent
            if step not in _NEXT.get(intent.step, ()):
                raise LedgerError(f"{intent.cancer}: intent {intent_id} stands at {intent.step}, {step} cannot follow")
            row = self._row(intent_id, intent.rollout_id, intent.cancer, step, detail or {}, at, fence)
            self._intents.append(connection, [row])
            return _intents(connection, intents.c.intent_id == intent_id)[0]

    def pending_intents(self, cancer: str | None = None) -> list[Intent]:
        """Intents that are neither done nor reverted, oldest first."""
        with snapshot(self.engine) as connection:
            return _pending(connection, cancer)

    def intent(self, intent_id: str) -> Intent:
        """Raises LedgerError for an unknown id."""
        with snapshot(self.engine) as connection:
            found = _intents(connection, intents.c.intent_id == intent_id)
        if not found:
            raise LedgerError(f"no intent {intent_id!r} in the ledger")
        return found[0]

    def _row(
        self,
        intent_id: str,
        rollout_id: str,
        cancer: str,
        step: IntentStep,
        body: Mapping[str, Any],
        at: float,
        fence: Fence,
    ) -> dict[str, Any]:
        return {
            "intent_id": intent_id,
            "rollout_id": rollout_id,
            "cancer": cancer,
            "step": step,
            "at": at,
            "recorded_at": self.wall(),
            "fencing_token": fence.token,
            "body": canonical_json(dict(body)).decode(),
        }


def _pending(connection: Connection, cancer: str | None) -> list[Intent]:
    ended = select(intents.c.intent_id).where(intents.c.step.in_(_ENDS))
    condition = intents.c.intent_id.not_in(ended)
    if cancer is not None:
        condition &= intents.c.cancer == cancer
    return _intents(connection, condition)


def _intents(connection: Connection, condition: Any) -> list[Intent]:
    found: dict[str, Intent] = {}
    for row in connection.execute(select(intents).where(condition).order_by(intents.c.seq)):
        first, body = found.get(row.intent_id), json.loads(row.body)
        found[row.intent_id] = Intent(
            id=row.intent_id,
            rollout_id=row.rollout_id,
            cancer=row.cancer,
            route=first.route if first else body,
            step=IntentStep(row.step),
            begun_at=first.begun_at if first else row.at,
            at=row.at,
            detail=body if first else {},
        )
    return list(found.values())
