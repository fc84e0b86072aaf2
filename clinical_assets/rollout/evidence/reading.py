"""What the ledger gained for a rollout between two cursors, each patient once, at a cost that follows the new rows.

A patient counts with the first request in shadow and the first in the split: later ones depend on it. A pair or answer
is used when its horizon has passed and its outcome is posted, whichever comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, func, select, union

from clinical_assets.rollout.entries import GROUP_SEPARATOR, Arm, PredictionStatus
from clinical_assets.rollout.evidence.news import Answer, Observed, Pair, Pool, Score, site_of
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.tables import memberships, outcomes, predictions


@dataclass(frozen=True)
class Cursor:
    """Everything logged up to `seq` and predicted up to `mature_until` (clinical seconds) has been used."""

    seq: int = 0
    mature_until: float = float("-inf")


@dataclass(frozen=True)
class Scope:
    """Which rollout is read, from where to where."""

    rollout_id: str
    plan: RolloutPlan
    before: Cursor
    until: Cursor


@dataclass(frozen=True)
class Rows:
    """New rows between two cursors; see `News`."""

    matured: int
    pairs: list[Pair]
    answers: list[Answer]
    assigned: list[tuple[bool, float]]
    scored: list[Score]


def last_seq(connection: Connection) -> int:
    """Position of the latest prediction or outcome."""
    heads = (connection.execute(select(func.max(table.c.seq))).scalar() for table in (predictions, outcomes))
    return max(head or 0 for head in heads)


def read(connection: Connection, scope: Scope) -> Rows:
    """All that became usable between the cursors, in the order of prediction time, then position."""
    matured, pairs = _pairs(connection, scope)
    return Rows(matured, pairs, _answers(connection, scope), _assigned(connection, scope), _scored(connection, scope))


def _pairs(connection: Connection, scope: Scope) -> tuple[int, list[Pair]]:
    before = scope.before
    first, mirrored = predictions.alias("first"), predictions.alias("mirrored")
    query = (
        mirrored_pairs(first, mirrored, scope)
        .add_columns(first.c.request_id, first.c.seq, mirrored.c.seq.label("other_seq"), *outcome_columns)
        .outerjoin(outcomes, outcome_of(first, scope.until))
    )
    rows = new_rows(connection, query, first, scope)
    matured = sum(not used(row.predicted_at, before, row.seq, row.other_seq) for row in rows)
    pairs = [
        Pair(row.champion, row.challenger, observed(row), row.predicted_at, _groups(row.groups))
        for row in rows
        if row.outcome_seq is not None and not used(row.predicted_at, before, row.seq, row.other_seq, row.outcome_seq)
    ]
    return matured, pairs


def mirrored_pairs(first: Any, mirrored: Any, scope: Scope) -> Any:
    """Both scores, groups and prediction time of each patient's first mirrored request."""
    earlier = predictions.alias("earlier")
    return (
        select(
            first.c.predicted_at,
            first.c.risk.label("champion"),
            mirrored.c.risk.label("challenger"),
            memberships.c.groups,
        )
        .join(mirrored, and_(mirrored.c.request_id == first.c.request_id, mirrored.c.digest == scope.plan.challenger))
        .outerjoin(
            memberships,
            and_(memberships.c.request_id == first.c.request_id, memberships.c.cancer == first.c.cancer),
        )
        .where(
            first.c.digest == scope.plan.champion,
            first.c.arm == Arm.CHAMPION,
            first.c.propensity == 0,
            first.c.status == PredictionStatus.OK,
            mirrored.c.arm == Arm.SHADOW,
            mirrored.c.status == PredictionStatus.OK,
            mirrored.c.seq <= scope.until.seq,
            ~exists().where(
                earlier.c.rollout_id == scope.rollout_id,
                earlier.c.patient == first.c.patient,
                earlier.c.arm == Arm.CHAMPION,
                earlier.c.propensity == 0,
                earlier.c.seq < first.c.seq,
            ),
        )
    )


def pool(connection: Connection, scope: Scope) -> Pool | None:
    """All mirrored score pairs so far; their outcomes are not looked at."""
    first, mirrored = predictions.alias("first"), predictions.alias("mirrored")
    query = mirrored_pairs(first, mirrored, scope).where(
        first.c.rollout_id == scope.rollout_id, first.c.seq <= scope.until.seq
    )
    rows = connection.execute(query.order_by(first.c.seq)).all()
    if not rows:
        return None
    return Pool(
        [row.champion for row in rows],
        [row.challenger for row in rows],
        [site_of(_groups(row.groups)) for row in rows],
        max(row.predicted_at for row in rows),
    )


def _answers(connection: Connection, scope: Scope) -> list[Answer]:
    first, mirrored = predictions.alias("first"), predictions.alias("mirrored")
    query = (
        select(
            first.c.request_id,
            first.c.predicted_at,
            first.c.arm,
            first.c.propensity,
            first.c.risk,
            first.c.seq,
            mirrored.c.risk.label("other"),
            *outcome_columns,
        )
        .join(outcomes, outcome_of(first, scope.until))
        .outerjoin(
            mirrored,
            and_(
                mirrored.c.request_id == first.c.request_id,
                mirrored.c.digest.in_((scope.plan.champion, scope.plan.challenger)),
                mirrored.c.digest != first.c.digest,
                mirrored.c.arm == Arm.SHADOW,
                mirrored.c.status == PredictionStatus.OK,
                mirrored.c.seq <= scope.until.seq,
            ),
        )
        .where(*_first_in_split(first, scope.rollout_id), first.c.status == PredictionStatus.OK)
    )
    rows = new_rows(connection, query, first, scope)
    return [
        Answer(row.arm == Arm.CHALLENGER, row.propensity, row.risk, row.other, observed(row))
        for row in rows
        if not used(row.predicted_at, scope.before, row.seq, row.outcome_seq)
    ]


def _assigned(connection: Connection, scope: Scope) -> list[tuple[bool, float]]:
    first = predictions.alias("first")
    query = select(first.c.arm, first.c.propensity).where(
        first.c.rollout_id == scope.rollout_id,
        *_first_in_split(first, scope.rollout_id),
        first.c.seq > scope.before.seq,
        first.c.seq <= scope.until.seq,
    )
    rows = connection.execute(query.order_by(first.c.seq)).all()
    return [(row.arm == Arm.CHALLENGER, row.propensity) for row in rows]


def _scored(connection: Connection, scope: Scope) -> list[Score]:
    scored, earlier = predictions.alias("scored"), predictions.alias("earlier")
    p = scored.c
    repeat = exists().where(
        earlier.c.rollout_id == scope.rollout_id,
        earlier.c.patient == p.patient,
        earlier.c.digest == p.digest,
        earlier.c.seq < p.seq,
    )
    query = select(p.digest, p.patient, p.risk, p.arm, p.recorded_at, repeat.label("repeat")).where(
        p.rollout_id == scope.rollout_id,
        p.digest.in_((scope.plan.champion, scope.plan.challenger)),
        p.seq > scope.before.seq,
        p.seq <= scope.until.seq,
    )
    return [
        Score(
            row.digest == scope.plan.challenger,
            row.patient,
            row.risk,
            row.arm == Arm.CHALLENGER,
            row.recorded_at,
            not row.repeat,
        )
        for row in connection.execute(query.order_by(p.seq))
    ]


def _first_in_split(first: Any, rollout_id: str) -> list[Any]:
    earlier = predictions.alias("earlier")

    def randomised(row: Any) -> list[Any]:
        arms = row.c.arm.in_((Arm.CHAMPION, Arm.CHALLENGER))
        return [arms, row.c.propensity > 0, row.c.propensity < 1]

    same = (earlier.c.rollout_id == rollout_id, earlier.c.patient == first.c.patient, earlier.c.seq < first.c.seq)
    return [*randomised(first), ~exists().where(*randomised(earlier), *same)]


def new_rows(connection: Connection, query: Any, first: Any, scope: Scope) -> list[Row[Any]]:
    """Mature rows of which something is new. The search starts from the new requests, whatever the history holds."""
    requests = predictions.c
    of_rollout = requests.rollout_id == scope.rollout_id
    searches = [
        select(requests.request_id).where(of_rollout, requests.seq > scope.before.seq, requests.seq <= scope.until.seq),
        select(outcomes.c.request_id).where(
            outcomes.c.cancer == scope.plan.cancer, outcomes.c.seq > scope.before.seq, outcomes.c.seq <= scope.until.seq
        ),
    ]
    if scope.before.mature_until > float("-inf"):
        window = requests.predicted_at > scope.before.mature_until, requests.predicted_at <= scope.until.mature_until
        searches.append(select(requests.request_id).where(of_rollout, *window))
    rows = connection.execute(
        query.where(
            first.c.request_id.in_(union(*searches)),
            # Expressions, not columns: an index on them would start the search from the whole rollout.
            first.c.rollout_id.concat("") == scope.rollout_id,
            first.c.seq + 0 <= scope.until.seq,
            first.c.predicted_at + 0.0 <= scope.until.mature_until,
        )
    )
    return sorted(rows, key=lambda row: (row.predicted_at, row.seq))


def used(predicted_at: float, before: Cursor, *sequences: int) -> bool:
    return predicted_at <= before.mature_until and max(sequences) <= before.seq


outcome_columns = (
    outcomes.c.seq.label("outcome_seq"),
    outcomes.c.time,
    outcomes.c.event,
    outcomes.c.label,
    outcomes.c.recorded_at.label("outcome_at"),
)


def outcome_of(scored: Any, until: Cursor) -> Any:
    return and_(
        outcomes.c.request_id == scored.c.request_id,
        outcomes.c.cancer == scored.c.cancer,
        outcomes.c.seq <= until.seq,
    )


def observed(row: Row[Any]) -> Observed:
    return Observed(row.time, row.event, row.label, row.outcome_at)


def _groups(stored: str | None) -> tuple[str, ...]:
    return tuple(stored.split(GROUP_SEPARATOR)) if stored else ()
