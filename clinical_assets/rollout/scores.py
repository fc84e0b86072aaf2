"""Scores joined with their outcomes: mirrored pairs in shadow, randomised arms in the split.

`seq` of a row is the position at which it became complete (the last of its predictions and its outcome), so a reader
that asks for everything after the last `seq` it saw gets each row exactly once.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine, Row, Select, and_, func, select, union

from clinical_assets.audit.chain import snapshot
from clinical_assets.rollout.entries import Arm, ArmCount, Outcome, PredictionStatus, Rollout, ScoredPair, SplitScore
from clinical_assets.rollout.tables import outcomes, predictions

_OUTCOME = ("time", "event", "label", "observed_at")


def scored_pairs(engine: Engine, rollout: Rollout, after_seq: int, labelled: bool) -> list[ScoredPair]:
    """Requests that both models scored; with `labelled`, only those whose outcome is known."""
    champion, challenger = predictions.alias("champion"), predictions.alias("challenger")
    columns = [
        challenger.c.request_id,
        challenger.c.patient,
        champion.c.predicted_at,
        champion.c.risk.label("champion_risk"),
        challenger.c.risk.label("challenger_risk"),
        champion.c.seq.label("champion_seq"),
        challenger.c.seq.label("challenger_seq"),
    ]
    joined = challenger.join(
        champion,
        and_(champion.c.request_id == challenger.c.request_id, champion.c.digest == rollout.champion),
    )
    sequences = [champion.c.seq, challenger.c.seq]
    if labelled:
        joined = joined.join(outcomes, _outcome_of(challenger, rollout))
        columns += _outcome_columns()
        sequences.append(outcomes.c.seq)
    query = (
        select(*columns)
        .select_from(joined)
        .where(
            challenger.c.rollout_id == rollout.id,
            champion.c.rollout_id == rollout.id,
            challenger.c.digest == rollout.challenger,
            challenger.c.arm == Arm.SHADOW,
            challenger.c.status == PredictionStatus.OK,
            champion.c.status == PredictionStatus.OK,
        )
    )
    pairs = [
        ScoredPair(
            seq=max(row.champion_seq, row.challenger_seq, row.outcome_seq if labelled else 0),
            request_id=row.request_id,
            patient=row.patient,
            predicted_at=row.predicted_at,
            champion_risk=row.champion_risk,
            challenger_risk=row.challenger_risk,
            outcome=_outcome(row, rollout) if labelled else None,
        )
        for row in _since(engine, query, sequences, after_seq)
    ]
    return sorted(pairs, key=lambda pair: pair.seq)


def split_scores(engine: Engine, rollout: Rollout, after_seq: int) -> list[SplitScore]:
    """Labelled scores that patients saw while both arms had a chance (0 < propensity < 1)."""
    answered, mirrored = predictions.alias("answered"), predictions.alias("mirrored")
    joined = answered.join(outcomes, _outcome_of(answered, rollout)).outerjoin(
        mirrored,
        and_(
            mirrored.c.request_id == answered.c.request_id,
            mirrored.c.arm == Arm.SHADOW,
            mirrored.c.status == PredictionStatus.OK,
            mirrored.c.digest.in_((rollout.champion, rollout.challenger)),
            mirrored.c.digest != answered.c.digest,
        ),
    )
    query = (
        select(
            answered.c.request_id,
            answered.c.patient,
            answered.c.arm,
            answered.c.propensity,
            answered.c.risk,
            answered.c.predicted_at,
            answered.c.seq,
            mirrored.c.risk.label("counterpart"),
            *_outcome_columns(),
        )
        .select_from(joined)
        .where(
            answered.c.rollout_id == rollout.id,
            answered.c.arm.in_((Arm.CHAMPION, Arm.CHALLENGER)),
            answered.c.status == PredictionStatus.OK,
            answered.c.propensity > 0,
            answered.c.propensity < 1,
        )
    )
    scores = [
        SplitScore(
            seq=max(row.seq, row.outcome_seq),
            request_id=row.request_id,
            patient=row.patient,
            arm=Arm(row.arm),
            propensity=row.propensity,
            risk=row.risk,
            counterpart=row.counterpart,
            predicted_at=row.predicted_at,
            outcome=_outcome(row, rollout),
        )
        for row in _since(engine, query, [answered.c.seq, outcomes.c.seq], after_seq)
    ]
    return sorted(scores, key=lambda score: score.seq)


def arm_counts(engine: Engine, rollout_id: str, after_seq: int) -> list[ArmCount]:
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
    with snapshot(engine) as connection:
        return [
            ArmCount(
                Arm(row.arm),
                row.digest,
                row.propensity,
                PredictionStatus(row.status),
                row.requests,
                row.patients,
                row.first_at,
                row.last_at,
            )
            for row in connection.execute(query)
        ]


def _since(engine: Engine, query: Select[Any], sequences: list[Any], after_seq: int) -> list[Row[Any]]:
    """Rows of which any part is newer than `after_seq`: one indexed search per part instead of a scan."""
    with snapshot(engine) as connection:
        if after_seq <= 0:
            return list(connection.execute(query))
        return list(connection.execute(union(*(query.where(seq > after_seq) for seq in sequences))))


def _outcome_of(scored: Any, rollout: Rollout) -> Any:
    return and_(outcomes.c.request_id == scored.c.request_id, outcomes.c.cancer == rollout.cancer)


def _outcome_columns() -> list[Any]:
    return [outcomes.c.seq.label("outcome_seq"), *(outcomes.c[name] for name in _OUTCOME)]


def _outcome(row: Row[Any], rollout: Rollout) -> Outcome:
    return Outcome(row.request_id, rollout.cancer, row.observed_at, row.time, row.event, row.label)
