"""Which open rollouts need a tick: those for which something is new, told by a few queries for all of them together.

A tick that only waits would wait again as long as nothing that it reads has changed (decisions, predictions, outcomes,
route, counters, verdicts and approvals, models placed) and no timer has fallen due. Whatever cannot be told cheaply is
no reason to rest: a rollout that holds, is unfinished, or cannot be seen is ticked every time.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from sqlalchemy import Connection, Engine, func, select

from clinical_assets.audit.chain import snapshot
from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.rollout import stages
from clinical_assets.rollout.controller import Action
from clinical_assets.rollout.entries import Progress, Rollout
from clinical_assets.rollout.evidence.hazard import BAND_EDGES
from clinical_assets.rollout.evidence.reading import last_seq
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.routing import NoData, RoutingError, ServiceCounts, Telemetry, TrafficRouter
from clinical_assets.rollout.tables import outcomes, predictions
from clinical_assets.rollout.tick import TickResult, TickStatus

LONGEST_REST_S = 300.0
"""Wall seconds after which a rollout is ticked whatever was seen; some sooner, so that not all come at once."""

LONGEST_CLINICAL_REST_S = 3600.0
"""The same in clinical time, which may run faster."""

EARLY_S = 1e-3
"""A timer is due so much sooner, so that no rounding of times makes it late."""

Marks = Mapping[str, object]
"""By cancer type something that changes whenever what it stands for does; a missing cancer type was not seen."""


@runtime_checkable
class WatchedAuthority(Protocol):
    """An authority that can say whether its answers may have changed, without giving them all again."""

    def marks(self, cancers: Sequence[str]) -> Marks:
        """Change with every record, statement, withdrawal and key that is added or removed."""
        ...

    def stands_until(self, rollout: Rollout, now: float) -> float:
        """Wall time at which, with nothing added, its answers about the rollout's challenger may change."""
        ...


@runtime_checkable
class ManyRoutes(Protocol):
    def read_many(self, cancers: Sequence[str]) -> Marks:
        """The routes as served, at the price of one look; without those that cannot be read."""
        ...


@runtime_checkable
class ManyCounts(Protocol):
    def counts_many(self, cancers: Sequence[str]) -> Mapping[str, Mapping[str, ServiceCounts]]:
        """The counters of several cancer types at the price of one look; without those that have no data."""
        ...


@dataclass(frozen=True)
class Surroundings:
    """What a tick reads. `placed`: marks of the models that should be loaded, `None` if others look after them."""

    ledger: Ledger
    router: TrafficRouter
    telemetry: Telemetry
    authority: object
    placed: Marks | None
    now: float


@dataclass(frozen=True)
class Sight:
    """What one look saw of a rollout. All of it is compared."""

    decisions: int
    route: object
    counters: object
    authority: object
    placed: object


@dataclass(frozen=True)
class Look:
    """What one look saw of all open rollouts, and which of them need a tick."""

    due: frozenset[str]
    sights: Mapping[str, Sight]
    now: float
    wall: float


@dataclass(frozen=True)
class _Rest:
    sight: Sight
    since: float
    until: float
    until_wall: float


@dataclass
class Rests:
    """The rollouts at rest. In memory only: a new process ticks each of them once.

    `heard`: by rollout the wall time at which telemetry last gave the counters that its evidence holds.
    """

    longest_s: float = LONGEST_REST_S
    longest_clinical_s: float = LONGEST_CLINICAL_REST_S
    heard: dict[str, float] = field(default_factory=dict)
    _resting: dict[str, _Rest] = field(default_factory=dict)
    _seq: int = 0

    def look(self, around: Surroundings, standings: Sequence[Progress]) -> Look:
        """See what is new since the last look. `standings`: all open rollouts, read just before."""
        wall = around.ledger.wall()
        rollouts = {progress.rollout.id: progress.rollout for progress in standings}
        self._resting = {name: rest for name, rest in self._resting.items() if name in rollouts}
        self.heard = {name: at for name, at in self.heard.items() if name in rollouts}
        with snapshot(around.ledger.engine) as connection:
            latest = last_seq(connection)
            moved = self._moved(connection) if self._resting else set()
        self._seq = latest
        moved |= {("cancer", intent.cancer) for intent in around.ledger.pending_intents()}
        sights = dict(_sights(around, standings))
        for name, rest in list(self._resting.items()):
            touched = {("rollout", name), ("cancer", rollouts[name].cancer)} & moved
            in_time = rest.since <= around.now < rest.until and wall < rest.until_wall
            if touched or not in_time or sights.get(name) != rest.sight:
                del self._resting[name]
            else:
                self.heard[name] = wall
        return Look(frozenset(rollouts.keys() - self._resting.keys()), sights, around.now, wall)

    def settle(self, around: Surroundings, seen: Look, before: Progress, result: TickResult) -> None:
        """Let the rollout rest if the tick that followed `seen` only waits."""
        self.heard.pop(before.rollout.id, None)
        sight, decision = seen.sights.get(before.rollout.id), result.decision
        waits = decision is not None and decision.action is Action.CONTINUE and result.transition is None
        if sight is None or not waits or result.status is not TickStatus.DECIDED:
            return
        if not isinstance(around.authority, WatchedAuthority):
            return
        with snapshot(around.ledger.engine) as connection:
            timers = [t for t in _timers(connection, before, seen.now) if t >= seen.now]
        until = min([seen.now + self.longest_clinical_s, *(t - EARLY_S for t in timers)])
        share = 0.5 + 0.5 * zlib.crc32(before.rollout.id.encode()) / 2**32
        stands = around.authority.stands_until(before.rollout, seen.wall)
        until_wall = min(seen.wall + self.longest_s * share, stands)
        self._resting[before.rollout.id] = _Rest(sight, seen.now, until, until_wall)

    def _moved(self, connection: Connection) -> set[tuple[str, str]]:
        """Rollouts with new predictions and cancer types with new outcomes since the last look."""
        scored = select(predictions.c.rollout_id).distinct().where(predictions.c.seq > self._seq)
        told = select(outcomes.c.cancer).distinct().where(outcomes.c.seq > self._seq)
        found = {("rollout", name) for name in connection.execute(scored).scalars() if name}
        return found | {("cancer", name) for name in connection.execute(told).scalars()}


@lru_cache(maxsize=16)
def rests_of(engine: Engine) -> Rests:
    """The rests that this process keeps for a database."""
    return Rests()


def _sights(around: Surroundings, standings: Sequence[Progress]) -> Iterator[tuple[str, Sight]]:
    cancers = [progress.rollout.cancer for progress in standings]
    if not isinstance(around.authority, WatchedAuthority):
        return
    marks, placed = around.authority.marks(cancers), around.placed or {}
    routes, counters = _routes(around.router, cancers), _counters(around.telemetry, cancers)
    for progress in standings:
        rollout = progress.rollout
        cancer = rollout.cancer
        counted = counters.get(cancer) if rollout.champion else ()  # a first deployment is not counted
        if cancer not in routes or cancer not in marks or counted is None:
            continue
        decisions = progress.last.seq if progress.last else 0
        yield rollout.id, Sight(decisions, routes[cancer], counted, marks[cancer], placed.get(cancer))


def _routes(router: TrafficRouter, cancers: Sequence[str]) -> Marks:
    if isinstance(router, ManyRoutes):
        return router.read_many(cancers)
    found = {}
    for cancer in cancers:
        try:
            found[cancer] = router.read(cancer)
        except RoutingError:
            continue
    return found


def _counters(telemetry: Telemetry, cancers: Sequence[str]) -> dict[str, Any]:
    """Every number of every counter; `ServiceCounts` compare without their histograms."""
    if isinstance(telemetry, ManyCounts):
        found: Mapping[str, Any] = telemetry.counts_many(cancers)
    else:
        found = {cancer: _counted(telemetry, cancer) for cancer in cancers}
    return {
        cancer: {digest: (n.requests, n.errors, n.latency) for digest, n in counts.items()}
        for cancer, counts in found.items()
        if not isinstance(counts, NoData)
    }


def _counted(telemetry: Telemetry, cancer: str) -> dict[str, ServiceCounts] | NoData:
    try:
        return telemetry.counts(cancer)
    except (OSError, RoutingError, ValueError) as error:
        return NoData(str(error))


def _timers(connection: Connection, progress: Progress, now: float) -> Iterator[float]:
    """Clinical times at which a decision may change although nothing was logged: stays, deadline, patients who mature.

    Whatever `decide` and the reading of evidence compare with the clock has its line here.
    """
    plan = RolloutPlan.model_validate(progress.rollout.policy)
    policy = plan.policy
    yield progress.rollout.opened_at + plan.horizon_s + policy.deadline_days * SECONDS_PER_DAY
    days = policy.watch_days if progress.stage == stages.WATCH else policy.dwell_days
    yield progress.entered_at + days * SECONDS_PER_DAY
    waits = {plan.horizon_s}
    if plan.counts_person_time:
        lag = policy.reporting_lag_days * SECONDS_PER_DAY
        waits |= {plan.horizon_s * edge + lag for edge in BAND_EDGES}
    for wait in waits:
        query = select(func.min(predictions.c.predicted_at)).where(
            predictions.c.rollout_id == progress.rollout.id, predictions.c.predicted_at > now - wait
        )
        earliest = connection.execute(query).scalar()
        if earliest is not None:
            yield earliest + wait
