"""Where every rollout stands, read on from where the last look ended.

The ledger is append-only, so a look costs what is new and not what is old: rows already seen are never read again.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from clinical_assets.rollout import stages
from clinical_assets.rollout.controller import Action
from clinical_assets.rollout.entries import IntentStep
from clinical_assets.rollout.evidence_log import states, steps
from clinical_assets.rollout.guardrails import shares
from clinical_assets.rollout.history import FIRST_STAGE
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.tables import intents, outcomes, predictions, rollouts, transitions

KEYS = 400
"""Keys of one query."""

LABELS = 2_000
"""Outcomes looked at for their delay in one look; older ones among the new are only counted."""

BACKLOG = 50_000
"""Outcomes of the past that a first look goes back over."""


@dataclass
class EvidenceShown:
    """The latest evidence step: wall time, patients, log E by test, difference in prediction error with its limits."""

    wall: float
    pairs: int
    split: int
    log_e: dict[str, float]
    differences: dict[str, list[float | None]]


@dataclass
class Standing:
    """One rollout. Times ending in `_wall` are wall time, the others clinical; `limits` are log E at which it ends."""

    id: str
    cancer: str
    champion: str
    challenger: str
    entered_at: float
    opened_wall: float
    stage: str = FIRST_STAGE
    weight: int = 0
    action: str = ""
    rule: str = ""
    last_wall: float = 0.0
    is_open: bool = True
    limits: dict[str, float] = field(default_factory=dict)
    evidence: EvidenceShown | None = None
    evidence_step: int = 0


@dataclass
class Labels:
    """Outcomes of one cancer type: how many since the first look, the latest (wall), and the latest delays.

    `delays`: clinical seconds from prediction to the observation of the outcome.
    """

    count: int = 0
    latest_wall: float = 0.0
    delays: list[float] = field(default_factory=list)


class RolloutReader:
    """Call `read` at each look; the attributes then hold the present state."""

    def __init__(self) -> None:
        self.standings: dict[str, Standing] = {}
        self.decisions: Counter[tuple[str, str]] = Counter()
        self.rollback_seconds: dict[str, float] = {}
        self.unfinished: dict[str, tuple[str, float]] = {}
        self.labels: dict[str, Labels] = {}
        self._seen = dict.fromkeys(("rollouts", "transitions", "intents"), 0)
        self._labels_seen: int | None = None

    @property
    def open(self) -> list[Standing]:
        return [standing for standing in self.standings.values() if standing.is_open]

    def champions(self) -> dict[str, str]:
        """By cancer type the model that answers by default, as `rollout.champion.champion_of` has it."""
        latest = {standing.cancer: standing for standing in self.standings.values()}
        found = {
            cancer: last.challenger if last.stage == stages.DONE else last.champion for cancer, last in latest.items()
        }
        return {cancer: digest for cancer, digest in found.items() if digest}

    def read(self, connection: Connection) -> None:
        self._openings(connection)
        self._transitions(connection)
        self._limits(connection)
        self._evidence(connection)
        self._intents(connection)
        self._labels(connection)

    def _openings(self, connection: Connection) -> None:
        c = rollouts.c
        columns = (c.seq, c.id, c.cancer, c.champion, c.challenger, c.opened_at, c.recorded_at)
        for row in connection.execute(select(*columns).where(c.seq > self._seen["rollouts"]).order_by(c.seq)):
            known = (row.id, row.cancer, row.champion, row.challenger, row.opened_at, row.recorded_at)
            self.standings[row.id] = Standing(*known)
            self._seen["rollouts"] = row.seq

    def _transitions(self, connection: Connection) -> None:
        c = transitions.c
        after = self._seen["transitions"]
        columns = (c.seq, c.rollout_id, c.action, c.stage, c.weight, c.is_open, c.rule, c.at, c.recorded_at)
        for row in connection.execute(select(*columns).where(c.seq > after).order_by(c.seq)):
            self._seen["transitions"] = row.seq
            standing = self.standings[row.rollout_id]
            if row.stage != standing.stage:
                standing.entered_at = row.at
            standing.stage, standing.weight, standing.is_open = row.stage, row.weight, bool(row.is_open)
            standing.action, standing.rule, standing.last_wall = row.action, row.rule, row.recorded_at
            self.decisions[standing.cancer, row.action] += 1
        rolled_back = select(c.cancer, c.body).where(c.seq > after, c.action == Action.ROLLBACK.value).order_by(c.seq)
        for row in connection.execute(rolled_back):
            seconds = json.loads(row.body)["statistics"].get("rollback", {}).get("seconds_to_share_zero")
            if seconds is not None:
                self.rollback_seconds[row.cancer] = seconds

    def _limits(self, connection: Connection) -> None:
        """A plan is locked when its rollout opens, so it is read once."""
        new = [standing.id for standing in self.open if not standing.limits]
        for part in _parts(new):
            query = select(rollouts.c.id, rollouts.c.body).where(rollouts.c.id.in_(part))
            for row in connection.execute(query):
                plan = RolloutPlan.model_validate_json(row.body)
                found = {name: -math.log(share) for name, share in shares(plan).items()}
                self.standings[row.id].limits = found | {"non_inferiority": -math.log(plan.policy.promotion_alpha)}

    def _evidence(self, connection: Connection) -> None:
        moved: dict[int, Standing] = {}
        for part in _parts([standing.id for standing in self.open]):
            query = select(states.c.rollout_id, states.c.step).where(states.c.rollout_id.in_(part))
            for row in connection.execute(query):
                standing = self.standings[row.rollout_id]
                if row.step != standing.evidence_step:
                    moved[row.step] = standing
        for part in _parts(list(moved)):
            for row in connection.execute(select(steps.c.seq, steps.c.body).where(steps.c.seq.in_(part))):
                standing, body = moved[row.seq], json.loads(row.body)
                standing.evidence_step = row.seq
                if shown := body.get("shown"):
                    seen = (shown["pairs"], shown["split"], shown["log_e"], shown["differences"])
                    standing.evidence = EvidenceShown(body["wall"], *seen)

    def _intents(self, connection: Connection) -> None:
        c = intents.c
        columns = (c.seq, c.intent_id, c.cancer, c.step, c.recorded_at)
        for row in connection.execute(select(*columns).where(c.seq > self._seen["intents"]).order_by(c.seq)):
            self._seen["intents"] = row.seq
            if row.step in (IntentStep.DONE, IntentStep.REVERTED):
                self.unfinished.pop(row.intent_id, None)
            else:
                self.unfinished.setdefault(row.intent_id, (row.cancer, row.recorded_at))

    def _labels(self, connection: Connection) -> None:
        c = outcomes.c
        last = connection.execute(select(func.max(c.seq))).scalar() or 0
        after = max(0, last - BACKLOG) if self._labels_seen is None else self._labels_seen
        self._labels_seen = last
        query = select(c.cancer, func.count(), func.max(c.recorded_at)).where(c.seq > after, c.seq <= last)
        for cancer, count, latest in connection.execute(query.group_by(c.cancer)):
            labels = self.labels.setdefault(cancer, Labels())
            labels.count, labels.latest_wall, labels.delays = labels.count + count, latest, []
        newest = (
            select(c.request_id, c.cancer, c.observed_at)
            .where(c.seq > after, c.seq <= last)
            .order_by(c.seq.desc())
            .limit(LABELS)
            .subquery()
        )
        p = predictions.c
        together = (p.request_id == newest.c.request_id) & (p.cancer == newest.c.cancer)
        query = select(newest.c.cancer, newest.c.observed_at, func.min(p.predicted_at)).join_from(
            newest, predictions, together
        )
        for cancer, observed, predicted in connection.execute(
            query.group_by(newest.c.request_id, newest.c.cancer, newest.c.observed_at)
        ):
            self.labels[cancer].delays.append(observed - predicted)


def _parts(keys: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(keys), KEYS):
        yield keys[start : start + KEYS]


def in_play(standings: Iterable[Standing], champions: dict[str, str]) -> set[tuple[str, str, str]]:
    """Cancer type, digest and role of every model that answers patients or may be about to."""
    found = {(cancer, digest, "champion") for cancer, digest in champions.items()}
    return found | {(standing.cancer, standing.challenger, "challenger") for standing in standings}
