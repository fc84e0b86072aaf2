"""Forgetting old predictions: chains go on to verify, decisions of removed rollouts go on to replay.

A rollout is removed whole, when it is closed, older than the limit in every row, and its decisions replay. The states
of evidence on which its decisions rest are kept; each is bound by its digest to the chained step that made it. What can
no longer be done for it: recompute those states from single patients. Open rollouts are never touched.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, exists, func, or_, select

from clinical_assets.audit.chain import snapshot
from clinical_assets.audit.keys import PLATFORM
from clinical_assets.audit.log import AuditLog
from clinical_assets.audit.removals import remove
from clinical_assets.foundation.clock import utc_iso
from clinical_assets.rollout.evidence_log import EvidenceLog, EvidenceMismatch
from clinical_assets.rollout.ledger import CHAINS, Ledger
from clinical_assets.rollout.replay import needed, replay
from clinical_assets.rollout.tables import memberships, outcomes, predictions, transitions

DAY = 86_400.0
MINIMUM_DAYS = 1


@dataclass(frozen=True)
class RetentionPlan:
    """What would be removed. `kept`: closed rollouts that are old enough and stay, with the reason. Times: wall, s."""

    before: float
    rollouts: tuple[str, ...]
    kept: dict[str, str]
    requests: int
    predictions: int


def plan_removal(ledger: Ledger, days: int, now: float) -> RetentionPlan:
    """Read only.

    Args:
        days: predictions recorded in these last days stay.
        now: wall time, seconds since the epoch.

    Raises:
        ValueError: fewer days than one.
    """
    if days < MINIMUM_DAYS:
        raise ValueError(f"{days} days: at least {MINIMUM_DAYS} day of predictions stays")
    before = now - days * DAY
    chosen, kept = [], {}
    for rollout_id in _old(ledger, before):
        try:
            differing = [again for again in replay(ledger, rollout_id) if again.differences]
        except EvidenceMismatch as error:
            kept[rollout_id] = str(error)
            continue
        if differing:
            kept[rollout_id] = f"decision {differing[0].number} does not replay; look at it first (`clinical replay`)"
        else:
            chosen.append(rollout_id)
    which = _which(chosen, before)
    with snapshot(ledger.engine) as connection:
        counts = select(func.count(), func.count(predictions.c.request_id.distinct())).where(which)
        rows, requests = connection.execute(counts.select_from(predictions)).one()
    return RetentionPlan(before, tuple(chosen), kept, requests, rows)


def apply(ledger: Ledger, log: AuditLog, plan: RetentionPlan, actor: str, reason: str, now: float) -> dict[str, int]:
    """Remove what the plan names, in one transaction with its audit entry; returns rows removed by table."""
    evidence = EvidenceLog(ledger.engine)
    states = {each: needed(ledger, each) for each in plan.rollouts if not evidence.archived(each)}
    signer, at_utc = log.keys.signer(PLATFORM), utc_iso(now)
    with ledger.engine.begin() as connection:
        CHAINS["predictions"].lock(connection)
        for rollout_id, resting in states.items():
            evidence.archive(connection, rollout_id, resting)
        removed = {"predictions": remove(
            connection, CHAINS["predictions"], _which(plan.rollouts, plan.before), signer, at_utc
        )}  # fmt: skip
        for table in (outcomes, memberships):
            same = and_(predictions.c.request_id == table.c.request_id, predictions.c.cancer == table.c.cancer)
            orphaned = ~exists().where(same)
            removed[table.name] = remove(connection, CHAINS[table.name], orphaned, signer, at_utc)
        payload = {"reason": reason, "recorded_before": utc_iso(plan.before), "rollouts": list(plan.rollouts)}
        log.append_within(connection, actor, "remove_predictions", "retention", {**payload, "rows": removed}, at_utc)
    return removed


def _which(rollouts: tuple[str, ...] | list[str], before: float) -> ColumnElement[bool]:
    alone = and_(predictions.c.rollout_id.is_(None), predictions.c.recorded_at < before)
    return and_(or_(alone, predictions.c.rollout_id.in_(rollouts)), _removable())


def _removable() -> ColumnElement[bool]:
    """The last row of the table stays, so that positions go on rising."""
    return predictions.c.seq < select(func.max(predictions.alias().c.seq)).scalar_subquery()


def _old(ledger: Ledger, before: float) -> list[str]:
    """Closed rollouts with predictions to remove, none of them and no decision more recent than `before`."""
    with snapshot(ledger.engine) as connection:
        return [rollout.id for rollout in ledger.rollouts(active=False) if _is_old(connection, rollout.id, before)]


def _is_old(connection: Connection, rollout_id: str, before: float) -> bool:
    p, t = predictions.c, transitions.c
    predicted = select(func.max(p.recorded_at)).where(p.rollout_id == rollout_id)
    removable = connection.execute(predicted.where(_removable())).scalar()
    decided = connection.execute(select(func.max(t.recorded_at)).where(t.rollout_id == rollout_id)).scalar()
    latest = connection.execute(predicted).scalar()
    return removable is not None and latest is not None and decided is not None and max(latest, decided) < before
