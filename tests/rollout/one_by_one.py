"""The definition that folding in columns is compared with: the log read by joins, one patient after the other.

Slow on purpose. Each patient goes through the `update` of every test, which is the formula as it is written down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, select, union

from clinical_assets.rollout.entries import GROUP_SEPARATOR, Arm, PredictionStatus
from clinical_assets.rollout.evidence.after_promotion import SINCE_PROMOTION
from clinical_assets.rollout.evidence.companions import Companions
from clinical_assets.rollout.evidence.drift import DriftEvidence, ScoreReference, tie_breaker
from clinical_assets.rollout.evidence.follow_up import passages
from clinical_assets.rollout.evidence.hazard import BAND_EDGES
from clinical_assets.rollout.evidence.maturity import outcome_at_horizon
from clinical_assets.rollout.evidence.news import Passage, site_of
from clinical_assets.rollout.evidence.onset import Onset
from clinical_assets.rollout.evidence.reading import Cursor, Scope, mirrored_pairs, outcome_columns, outcome_of, pool
from clinical_assets.rollout.evidence.shadow import loss_difference
from clinical_assets.rollout.evidence.split import augmentation, split_difference
from clinical_assets.rollout.evidence.srm import assign
from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.evidence.winsorised import tail
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.tables import outcomes, predictions


@dataclass(frozen=True)
class Observed:
    time: float | None
    event: int | None
    label: int | None
    recorded_at: float


@dataclass(frozen=True)
class Pair:
    champion: float
    challenger: float
    outcome: Observed
    predicted_at: float
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Answer:
    challenger_arm: bool
    propensity: float
    risk: float
    other: float | None
    outcome: Observed


@dataclass(frozen=True)
class Score:
    challenger: bool
    patient: str
    risk: float | None
    answered: bool
    recorded_at: float
    first: bool


@dataclass(frozen=True)
class Rows:
    matured: int
    pairs: list[Pair]
    answers: list[Answer]
    assigned: list[tuple[bool, float]]
    scored: list[Score]


def fold(connection: Connection, evidence: Evidence, scope: Scope, wall: float, stage: str) -> Evidence:
    """One step: read what is new between the cursors, then update patient by patient."""
    plan = scope.plan
    rows = read(connection, scope)
    wanted = plan.policy.promotion_test == "winsorised" and not evidence.paired.n and rows.pairs
    first = pool(connection, scope) if wanted else None
    moved = evidence
    if stage != evidence.stage:
        moved = replace(evidence, stage=stage, answered_before=evidence.outputs.answered)
    moved = _score(moved, rows.scored, plan)
    if first is not None:
        moved = replace(moved, companions=moved.companions.with_pool(first, plan))
    for passage in passages(connection, scope):
        moved = _pass(moved, passage, wall, plan)
    for pair in rows.pairs:
        moved = _pair(moved, pair, plan)
    for answer in rows.answers:
        moved = _answer(moved, answer, plan)
    for pair in pairs_since_promotion(connection, scope) if stage in SINCE_PROMOTION else ():
        moved = _since_promotion(moved, pair, plan)
    for challenger, propensity in rows.assigned:
        moved = replace(moved, assignment=assign(moved.assignment, challenger, propensity))
    moved = replace(moved, matured=moved.matured + rows.matured)
    return moved if moved.sampled_at is not None else replace(moved, sampled_at=wall)


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
    rows = _new(connection, query, first, scope)
    matured = sum(not _used(row.predicted_at, before, row.seq, row.other_seq) for row in rows)
    pairs = [
        Pair(row.champion, row.challenger, _observed(row), row.predicted_at, _groups(row.groups))
        for row in rows
        if row.outcome_seq is not None and not _used(row.predicted_at, before, row.seq, row.other_seq, row.outcome_seq)
    ]
    return matured, pairs


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
    rows = _new(connection, query, first, scope)
    return [
        Answer(row.arm == Arm.CHALLENGER, row.propensity, row.risk, row.other, _observed(row))
        for row in rows
        if not _used(row.predicted_at, scope.before, row.seq, row.outcome_seq)
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


def _new(connection: Connection, query: Any, first: Any, scope: Scope) -> list[Row[Any]]:
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


def _used(predicted_at: float, before: Cursor, *sequences: int) -> bool:
    return predicted_at <= before.mature_until and max(sequences) <= before.seq


def _observed(row: Row[Any]) -> Observed:
    return Observed(row.time, row.event, row.label, row.outcome_at)


def _groups(stored: str | None) -> tuple[str, ...]:
    return tuple(stored.split(GROUP_SEPARATOR)) if stored else ()


def _outcome(outcome: Observed, plan: RolloutPlan) -> tuple[int, float]:
    if outcome.label is not None:
        return outcome.label, 1.0
    if plan.horizon_days is None or outcome.time is None or outcome.event is None:
        raise ValueError(f"{plan.cancer}: a follow-up time was posted, but the rollout's plan has no horizon")
    cap = plan.policy.censoring_weight_cap
    return outcome_at_horizon(outcome.time, outcome.event, plan.horizon_days, plan.censoring, cap)


def _onset(evidence: Evidence, sample_at: float, *names: str) -> Evidence:
    logs = evidence.log_harm()
    moved = {name: evidence.onsets.get(name, Onset()).update(logs[name], sample_at) for name in names}
    return replace(evidence, onsets={**evidence.onsets, **moved})


def _score(evidence: Evidence, scored: Sequence[Score], plan: RolloutPlan) -> Evidence:
    outputs, a, b = evidence.outputs, evidence.champion_drift, evidence.challenger_drift
    onset, log_e = evidence.onsets.get("score_drift", Onset()), b.log_e
    for score in scored:
        if score.challenger:
            outputs = outputs.update(score.patient, score.risk, score.answered, score.recorded_at)
        if score.risk is None or not score.first:
            continue
        uniform = tie_breaker(plan.cancer, str(score.challenger), score.patient)
        if score.challenger:
            b = _ranked(b, plan.challenger_scores, score.risk, uniform)
            onset = onset.update(b.log_e, score.recorded_at) if b.log_e != log_e else onset
            log_e = b.log_e
        else:
            a = _ranked(a, plan.champion_scores, score.risk, uniform)
    onsets = {**evidence.onsets, "score_drift": onset}
    return replace(evidence, outputs=outputs, champion_drift=a, challenger_drift=b, onsets=onsets)


def _ranked(drift: DriftEvidence, reference: ScoreReference, risk: float, uniform: float) -> DriftEvidence:
    return drift.update(reference, risk, uniform) if sum(reference.counts) else drift


def _pass(evidence: Evidence, passage: Passage, wall: float, plan: RolloutPlan) -> Evidence:
    until = min(passage.until, BAND_EDGES[passage.band])
    share = plan.hazard_shape.within(passage.band, until)
    margin = plan.policy.hazard_margin
    hazard = evidence.hazard
    if passage.withdrawn:
        whole = plan.hazard_shape.within(passage.band, BAND_EDGES[passage.band])
        share -= whole
    hazard = hazard.update(passage.challenger, passage.champion, passage.band, passage.event, share, margin)
    return _onset(replace(evidence, hazard=hazard), wall, "hazard_harm")


def _pair(evidence: Evidence, pair: Pair, plan: RolloutPlan) -> Evidence:
    outcome, weight = _outcome(pair.outcome, plan)
    z = loss_difference(pair.challenger, pair.champion, outcome, weight)
    paired = evidence.paired.update(z, plan.margin, plan.max_weight)
    companions = _companions(evidence.companions, pair, z, outcome, weight, plan)
    moved = replace(evidence, paired=paired, companions=companions)
    return _onset(moved, pair.outcome.recorded_at, "paired_harm", "subgroup_harm")


def _companions(
    companions: Companions, pair: Pair, z: float, outcome: int, weight: float, plan: RolloutPlan
) -> Companions:
    a, b, winsorised = pair.champion, pair.challenger, companions.winsorised
    if winsorised is not None:
        h = float(tail(b, a, plan.max_weight))
        winsorised = winsorised.seen_at(site_of(pair.groups), pair.predicted_at).update(
            z, h, plan.margin, plan.max_weight
        )
    conditional = companions.conditional.update(b, a, outcome, plan.margin, weight)
    moved = replace(companions, conditional=conditional, winsorised=winsorised)
    if not weight:
        return moved
    if outcome and plan.threshold is not None:
        lost = int(a >= plan.threshold) - int(b >= plan.threshold)
        subgroups = companions.subgroups.update(pair.groups, lost, plan.policy.subgroup_margin, weight, plan.max_weight)
        moved = replace(moved, subgroups=subgroups)
    return replace(moved, concordance=companions.concordance.update(a, b, outcome, plan.policy.auroc_margin))


def _answer(evidence: Evidence, answer: Answer, plan: RolloutPlan) -> Evidence:
    outcome, weight = _outcome(answer.outcome, plan)
    centre = plan.champion_brier
    if plan.split_scores == "both":
        if answer.other is None:
            raise ValueError(f"{plan.cancer}: the plan promises both models' scores in the split, one is missing")
        scores = (answer.risk, answer.other) if answer.challenger_arm else (answer.other, answer.risk)
        centre = augmentation(*scores, answer.propensity)
    arm = "challenger" if answer.challenger_arm else "champion"
    z = split_difference(arm, (answer.risk - outcome) ** 2, answer.propensity, centre, weight)
    moved = replace(evidence, split=evidence.split.update(z, answer.propensity, plan.max_weight))
    return _onset(moved, answer.outcome.recorded_at, "split_harm")


def pairs_since_promotion(connection: Connection, scope: Scope) -> list[Pair]:
    """Both scores of patients whom the promoted model answered, as far as they became usable between the cursors.

    A patient counts once, with the first answer since the promotion; in the order of prediction time, then position.
    """
    first, mirrored = predictions.alias("first"), predictions.alias("mirrored")
    earlier = predictions.alias("earlier")

    def answered(row: Any) -> list[Any]:
        return [row.c.digest == scope.plan.challenger, row.c.arm == Arm.CHALLENGER, row.c.propensity == 1]

    same = (earlier.c.rollout_id == scope.rollout_id, earlier.c.patient == first.c.patient)
    query = (
        select(
            first.c.predicted_at,
            first.c.seq,
            first.c.risk.label("challenger"),
            mirrored.c.risk.label("champion"),
            mirrored.c.seq.label("other_seq"),
            *outcome_columns,
        )
        .join(mirrored, and_(mirrored.c.request_id == first.c.request_id, mirrored.c.digest == scope.plan.champion))
        .join(outcomes, outcome_of(first, scope.until))
        .where(
            *answered(first),
            first.c.status == PredictionStatus.OK,
            mirrored.c.arm == Arm.SHADOW,
            mirrored.c.status == PredictionStatus.OK,
            mirrored.c.seq <= scope.until.seq,
            ~exists().where(*answered(earlier), *same, earlier.c.seq < first.c.seq),
        )
    )
    return [
        Pair(row.champion, row.challenger, _observed(row), row.predicted_at, ())
        for row in _new(connection, query, first, scope)
        if not _used(row.predicted_at, scope.before, row.seq, row.other_seq, row.outcome_seq)
    ]


def _since_promotion(evidence: Evidence, pair: Pair, plan: RolloutPlan) -> Evidence:
    outcome, weight = _outcome(pair.outcome, plan)
    z = loss_difference(pair.challenger, pair.champion, outcome, weight)
    seen = (pair.predicted_at, pair.outcome.recorded_at)
    return replace(evidence, promoted=evidence.promoted.update(z, *seen, plan.max_weight, plan.bets_since_promotion))
