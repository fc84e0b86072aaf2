"""What the ledger gained for a rollout between two cursors, each patient once, at a cost that follows the new rows.

A patient counts with the first request in shadow and the first in the split: later ones depend on it. A pair or answer
is used when its horizon has passed and its outcome is posted, whichever comes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, exists, func, select

from clinical_assets.rollout.entries import Arm, PredictionStatus
from clinical_assets.rollout.evidence.columns import (
    CHALLENGER,
    CHAMPION,
    Firsts,
    Logged,
    Posted,
    firsts,
    groups_of,
    joined,
    logged,
    of_requests,
    posted,
    split,
)
from clinical_assets.rollout.evidence.news import Answers, Assigned, Pairs, Pool, Scores, site_of
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
    pairs: Pairs | None
    answers: Answers | None
    assigned: Assigned | None
    scored: Scores | None
    promoted: Pairs | None


def last_seq(connection: Connection) -> int:
    """Position of the latest prediction or outcome."""
    heads = (connection.execute(select(func.max(table.c.seq))).scalar() for table in (predictions, outcomes))
    return max(head or 0 for head in heads)


def read(connection: Connection, scope: Scope) -> Rows:
    """All that became usable between the cursors, in the order of prediction time, then position."""
    before, until, plan = scope.before, scope.until, scope.plan
    p = predictions.c
    of_rollout = p.rollout_id == scope.rollout_id
    news = logged(connection, scope.rollout_id, plan, of_rollout, p.seq > before.seq, p.seq <= until.seq)
    matured = (p.predicted_at > before.mature_until, p.predicted_at <= until.mature_until, p.seq + 0 <= before.seq)
    parts = [news]
    if before.seq and before.mature_until > float("-inf"):
        parts.append(logged(connection, scope.rollout_id, plan, of_rollout, *matured))
    fresh = posted(connection, plan.cancer, before.seq, until.seq, ())
    rows = joined(parts)
    wanted = _incomplete(rows, fresh, plan)
    if wanted:
        rows = joined([rows, *of_requests(connection, scope.rollout_id, plan, wanted, until.seq)])
    touched = set(rows.request) if len(rows) > len(news) else set()
    told = posted(connection, plan.cancer, before.seq, until.seq, touched) if touched else fresh
    found = firsts(connection, scope.rollout_id, plan, rows, before.seq)
    log = _Log(scope, rows, told, found)
    count, pairs = _pairs(connection, log)
    return Rows(count, pairs, _answers(log), _assigned(log), _scored(log, len(news)), _promoted(log))


@dataclass(frozen=True)
class _Log:
    """All predictions and outcomes that a step may use, and the first of each patient."""

    scope: Scope
    rows: Logged
    told: Posted
    firsts: Firsts

    def mature(self, which: np.ndarray) -> np.ndarray:
        """Places of the rows `which` that are mature, in the order of prediction time, then position."""
        places = np.flatnonzero(which & (self.rows.predicted_at <= self.scope.until.mature_until))
        return places[np.lexsort((self.rows.seq[places], self.rows.predicted_at[places]))]

    def unused(self, places: np.ndarray, *others: np.ndarray) -> np.ndarray:
        """Whether something about the rows at `places` is new; `others`: positions of what belongs to them."""
        latest = np.maximum.reduce([self.rows.seq[places], *others])
        early = self.rows.predicted_at[places] <= self.scope.before.mature_until
        return ~(early & (latest <= self.scope.before.seq))


def _incomplete(rows: Logged, fresh: Posted, plan: RolloutPlan) -> set[str]:
    """Requests of which a part was logged earlier: its prediction, the other model's score."""
    answers = (rows.mirrored | rows.promoted) & rows.ok
    if plan.split_scores == "both":
        answers = (answers | rows.randomised) & rows.ok
    here, copied = ({rows.request[i] for i in np.flatnonzero(which).tolist()} for which in (answers, rows.copies))
    return (here ^ copied) | (fresh.place.keys() - set(rows.request))


def _pairs(connection: Connection, log: _Log) -> tuple[int, Pairs | None]:
    rows, plan = log.rows, log.scope.plan
    champion = rows.mirrored & rows.ok & (rows.model == CHAMPION) & (log.firsts.mirrored >= rows.seq)
    one, other = _with_copy(log, log.mature(champion), CHALLENGER)
    matured = int(log.unused(one, rows.seq[other]).sum())
    one, other, outcome = _newly_told(log, one, other)
    if not len(one):
        return matured, None
    groups: list[tuple[str, ...]] = [()] * len(one)
    if plan.groups or plan.policy.promotion_test == "winsorised":
        groups = groups_of(connection, plan.cancer, [rows.request[i] for i in one.tolist()])
    return matured, Pairs(rows.risk[one], rows.risk[other], log.told.at(outcome), rows.predicted_at[one], groups)


def _promoted(log: _Log) -> Pairs | None:
    """Both scores of patients whom the promoted model answered, each with the first answer since the promotion."""
    rows = log.rows
    answered = rows.promoted & rows.ok & (log.firsts.promoted >= rows.seq)
    one, other, outcome = _newly_told(log, *_with_copy(log, log.mature(answered), CHAMPION))
    if not len(one):
        return None
    return Pairs(rows.risk[other], rows.risk[one], log.told.at(outcome), rows.predicted_at[one], [()] * len(one))


def _with_copy(log: _Log, places: np.ndarray, model: int) -> tuple[np.ndarray, np.ndarray]:
    """Those `places` whose request was mirrored to `model`, and the places of its scores."""
    rows = log.rows
    copied = {rows.request[i]: i for i in np.flatnonzero(rows.copies & (rows.model == model)).tolist()}
    found = np.fromiter((copied.get(rows.request[i], -1) for i in places.tolist()), int, len(places))
    return places[found >= 0], found[found >= 0]


def _newly_told(log: _Log, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Those pairs of places with an outcome, and its place, of which something was not yet used."""
    outcome = log.told.of([log.rows.request[i] for i in one.tolist()])
    one, other, outcome = (places[outcome >= 0] for places in (one, other, outcome))
    new = log.unused(one, log.rows.seq[other], log.told.seq[outcome])
    return one[new], other[new], outcome[new]


def _answers(log: _Log) -> Answers | None:
    rows, plan = log.rows, log.scope.plan
    randomised = rows.randomised & rows.ok & (log.firsts.randomised >= rows.seq)
    one = log.mature(randomised)
    outcome = log.told.of([rows.request[i] for i in one.tolist()])
    one, outcome = one[outcome >= 0], outcome[outcome >= 0]
    new = log.unused(one, log.told.seq[outcome])
    one, outcome = one[new], outcome[new]
    if not len(one):
        return None
    others = np.full(len(one), np.nan)
    if plan.split_scores == "both":
        copies = rows.copies & (rows.model <= CHALLENGER)
        place = {(rows.request[i], int(rows.model[i])): i for i in np.flatnonzero(copies).tolist()}
        for position, i in enumerate(one.tolist()):
            models = [model for model in (CHAMPION, CHALLENGER) if model != rows.model[i]]
            found = [place[rows.request[i], model] for model in models if (rows.request[i], model) in place]
            others[position] = rows.risk[found[0]] if found else np.nan
    arm, told = rows.arm[one] == CHALLENGER, log.told.at(outcome)
    return Answers(arm, rows.propensity[one], rows.risk[one], others, told)


def _assigned(log: _Log) -> Assigned | None:
    rows = log.rows
    first = rows.randomised & (log.firsts.randomised >= rows.seq)
    new = first & (rows.seq > log.scope.before.seq)
    return Assigned(rows.arm[new] == CHALLENGER, rows.propensity[new]) if new.any() else None


def _scored(log: _Log, n: int) -> Scores | None:
    if not n:
        return None
    rows = log.rows
    ours = rows.ours & (rows.seq > log.scope.before.seq) & (rows.model <= CHALLENGER)
    by_champion, by_challenger = (first >= rows.seq for first in log.firsts.scored)
    challenger = rows.model == CHALLENGER
    first = np.where(challenger, by_challenger, by_champion)
    patients = [rows.patient[i] for i in np.flatnonzero(ours).tolist()]
    columns = (rows.risk, rows.arm == CHALLENGER, rows.recorded_at, first)
    return Scores(challenger[ours], patients, *(column[ours] for column in columns))


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
        [site_of(split(row.groups)) for row in rows],
        max(row.predicted_at for row in rows),
    )


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
