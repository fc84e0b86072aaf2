"""The evidence of each rollout between ticks: what every step read, and the state that followed.

An append-only, hash-chained row per step keeps its inputs (how far the ledger was read, the service counters) and the
digest of the resulting state; the state itself is one row per rollout, a cache. Replaying the steps from the ledger
gives the same bits, which `replay` proves.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, Engine, Float, Integer, String, Table, Text, delete, select

from clinical_assets.audit.chain import ChainState, HashChain, body_columns, chained_table, snapshot
from clinical_assets.foundation.canonical import canonical_json, sha256_bytes
from clinical_assets.foundation.database import metadata
from clinical_assets.rollout.entries import Fence
from clinical_assets.rollout.evidence.after_promotion import SINCE_PROMOTION
from clinical_assets.rollout.evidence.follow_up import passages
from clinical_assets.rollout.evidence.news import Counters, News
from clinical_assets.rollout.evidence.reading import Cursor, Scope, last_seq, pool, read
from clinical_assets.rollout.evidence.state import Evidence
from clinical_assets.rollout.leases import check_fence
from clinical_assets.rollout.plan import RolloutPlan

IDLE_STEP_S = 10.0
"""A step that learned nothing is stored only this often (seconds), to remember that telemetry still answers."""

steps = chained_table(
    "evidence_steps",
    Column("rollout_id", String(96), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("state_sha256", String(64), nullable=False),
    *body_columns(),  # cursor, stage, wall time, counters
)

states = Table(
    "evidence_states",
    metadata,
    Column("rollout_id", String(96), primary_key=True),
    Column("step", Integer, nullable=False),
    Column("state", Text, nullable=False),
)


archived = Table(
    "evidence_archive",
    metadata,
    Column("rollout_id", String(96), primary_key=True),
    Column("state_sha256", String(64), primary_key=True),
    Column("state", Text, nullable=False),
)


class EvidenceMismatch(RuntimeError):
    """Replaying the ledger does not give the evidence that was recorded: one of them was changed."""


class EvidenceLog:
    """Reads, moves on and replays the evidence of rollouts."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._chain = HashChain(steps)

    def current(self, rollout_id: str, plan: RolloutPlan) -> Evidence:
        """The evidence after the last stored step."""
        with snapshot(self.engine) as connection:
            return self._load(connection, rollout_id, plan)[0]

    def step(self, rollout_id: str, plan: RolloutPlan, look: Look, fence: Fence | None) -> Evidence:
        """Account for everything that became usable since the last step; without a fence nothing is stored.

        A step that learned nothing leaves the evidence as it is stored, so that every decision rests on a stored state.

        Raises:
            StaleLease: another holder took over; nothing was stored.
        """
        now, wall, stage, counters = look.now, look.wall, look.stage, look.counters
        with snapshot(self.engine) as connection:
            evidence, before, last = self._load(connection, rollout_id, plan)
            until = Cursor(last_seq(connection), max(before.mature_until, now - plan.horizon_s))
            news = news_of(connection, Scope(rollout_id, plan, before, until), evidence, look)
        moved = evidence.update(news, plan)
        idle = counters is None or (evidence.sampled_at is not None and wall - evidence.sampled_at < IDLE_STEP_S)
        learned = any(
            (news.matured, news.pairs, news.answers, news.assigned, news.scored, news.passages, news.promoted)
        )
        learned = learned or stage != evidence.stage or moved.service.counters != evidence.service.counters
        if fence is not None:
            if not learned and idle and evidence.sampled_at is not None:
                return evidence
            body = {"seq": until.seq, "mature_until": until.mature_until, "now": now, "wall": wall, "stage": stage}
            body["counters"] = None if counters is None else {k: list(v) for k, v in counters.items()}
            if look.heard is not None:
                body["heard"] = look.heard
            body["shown"] = _shown(moved)
            self._store(rollout_id, now, canonical_json(body), moved, last, fence)
        return moved

    def replay(self, rollout_id: str, plan: RolloutPlan) -> Evidence:
        """Recompute every step from the ledger and compare each state, bit by bit, with the one recorded.

        Raises:
            EvidenceMismatch: names the first step that differs.
        """
        with snapshot(self.engine) as connection:
            return self._replay(connection, rollout_id, plan)[0]

    def replayed(self, rollout_id: str, plan: RolloutPlan) -> Iterator[Evidence]:
        """The evidence before the first step and after each, recomputed as `replay` does. Raises as it does."""
        with snapshot(self.engine) as connection:
            for evidence, _, _ in self._replayed(connection, rollout_id, plan):
                yield evidence

    def archive(self, connection: Connection, rollout_id: str, resting: list[Evidence]) -> None:
        """Keep the states on which decisions rest; from then on they stand for the patients' rows, which may go."""
        for evidence in resting:
            state, digest = _state(evidence)
            row = {"rollout_id": rollout_id, "state_sha256": digest, "state": state}
            connection.execute(archived.insert(), row)

    def archived(self, rollout_id: str) -> list[Evidence]:
        """The states kept for a rollout whose predictions were removed; empty for every other.

        Raises:
            EvidenceMismatch: a kept state is not one that a chained step recorded.
        """
        with snapshot(self.engine) as connection:
            kept = connection.execute(select(archived).where(archived.c.rollout_id == rollout_id)).all()
            query = select(steps.c.state_sha256).where(steps.c.rollout_id == rollout_id)
            recorded = set(connection.execute(query).scalars())
        for row in kept:
            if sha256_bytes(row.state.encode()) != row.state_sha256 or row.state_sha256 not in recorded:
                raise EvidenceMismatch(f"rollout {rollout_id}: a kept state of its evidence was changed")
        return [Evidence.from_json(json.loads(row.state)) for row in kept]

    def course(self, rollout_id: str, most: int = 300) -> list[dict[str, Any]]:
        """How the evidence went, step by step, thinned evenly to about `most` steps: what plots show.

        Each step: `pairs` and `split` (patients), `log_e` by test, and mean, lower and upper limit of both differences.
        """
        query = select(steps.c.seq).where(steps.c.rollout_id == rollout_id).order_by(steps.c.seq)
        with snapshot(self.engine) as connection:
            every = connection.execute(query).scalars().all()
            kept = [*every[:: max(1, len(every) // most)], *every[-1:]]
            query = select(steps.c.body).where(steps.c.seq.in_(kept)).order_by(steps.c.seq)
            bodies = (json.loads(body) for body in connection.execute(query).scalars())
            return [body["shown"] for body in bodies if "shown" in body]

    def verify_chain(self) -> ChainState:
        with snapshot(self.engine) as connection:
            return self._chain.verify(connection)

    def _load(self, connection: Connection, rollout_id: str, plan: RolloutPlan) -> tuple[Evidence, Cursor, int]:
        query = select(steps).where(steps.c.rollout_id == rollout_id).order_by(steps.c.seq.desc()).limit(1)
        last = connection.execute(query).first()
        if last is None:
            return Evidence.start(plan), Cursor(), 0
        cached = connection.execute(select(states.c.state).where(states.c.rollout_id == rollout_id)).scalar()
        if cached is None or sha256_bytes(cached.encode()) != last.state_sha256:
            return self._replay(connection, rollout_id, plan)
        body = json.loads(last.body)
        return Evidence.from_json(json.loads(cached)), Cursor(body["seq"], body["mature_until"]), last.seq

    def _replay(self, connection: Connection, rollout_id: str, plan: RolloutPlan) -> tuple[Evidence, Cursor, int]:
        return deque(self._replayed(connection, rollout_id, plan), maxlen=1)[0]

    def _replayed(
        self, connection: Connection, rollout_id: str, plan: RolloutPlan
    ) -> Iterator[tuple[Evidence, Cursor, int]]:
        if connection.execute(select(archived.c.state_sha256).where(archived.c.rollout_id == rollout_id)).first():
            raise EvidenceMismatch(
                f"{plan.cancer}: the predictions of rollout {rollout_id} were removed by retention, so its evidence is "
                "not recomputed from them; its decisions replay on the states that were kept (`clinical replay`)"
            )
        evidence, cursor, seq = Evidence.start(plan), Cursor(), 0
        yield evidence, cursor, seq
        query = select(steps).where(steps.c.rollout_id == rollout_id).order_by(steps.c.seq)
        for row in connection.execute(query).all():
            body = json.loads(row.body)
            until = Cursor(body["seq"], body["mature_until"])
            counters = body["counters"] and {k: tuple(v) for k, v in body["counters"].items()}
            look = Look(body["now"], body["wall"], body["stage"], counters, body.get("heard"))
            news = news_of(connection, Scope(rollout_id, plan, cursor, until), evidence, look)
            evidence, cursor, seq = evidence.update(news, plan), until, row.seq
            if _state(evidence)[1] != row.state_sha256:
                raise EvidenceMismatch(
                    f"{plan.cancer}: rollout {rollout_id}, evidence step {seq}: the ledger no longer gives the state "
                    "recorded; verify the chains and restore the database from backup"
                )
            yield evidence, cursor, seq

    def _store(self, rollout_id: str, now: float, body: bytes, evidence: Evidence, last: int, fence: Fence) -> None:
        state, digest = _state(evidence)
        with self.engine.begin() as connection:
            check_fence(connection, fence)
            row = {"rollout_id": rollout_id, "at": now, "state_sha256": digest, "body": body.decode()}
            self._chain.append(connection, [row])
            seq = self._chain.lock(connection)
            connection.execute(delete(states).where(states.c.rollout_id == rollout_id, states.c.step == last))
            connection.execute(states.insert(), {"rollout_id": rollout_id, "step": seq, "state": state})


def _state(evidence: Evidence) -> tuple[str, str]:
    text = canonical_json(evidence.to_json())
    return text.decode(), sha256_bytes(text)


def _shown(evidence: Evidence) -> dict[str, Any]:
    intervals = {"paired": evidence.paired, "split": evidence.split}
    return {
        "pairs": evidence.paired.n,
        "split": evidence.split.n,
        "log_e": evidence.log_harm() | {"non_inferiority": evidence.paired.non_inferiority.log_e},
        "differences": {name: [test.mean, *test.interval.bounds] for name, test in intervals.items()},
    }


@dataclass(frozen=True)
class Look:
    """What a step knows beside the ledger.

    Attributes:
        now: clinical time, decides maturity. wall: wall time. counters: cumulative, by digest; `None` = no data.
        heard: wall time at which the counters were last seen unchanged since the step before, `None` if never.
    """

    now: float
    wall: float
    stage: str
    counters: Counters | None
    heard: float | None = None


def news_of(connection: Connection, scope: Scope, evidence: Evidence, look: Look) -> News:
    """What a step learns."""
    rows = read(connection, scope)
    wanted = scope.plan.policy.promotion_test == "winsorised" and not evidence.paired.n and rows.pairs
    return News(
        wall=look.wall,
        stage=look.stage,
        now=look.now,
        matured=rows.matured,
        pairs=rows.pairs,
        answers=rows.answers,
        assigned=rows.assigned,
        scored=rows.scored,
        passages=passages(connection, scope),
        counters=look.counters,
        heard=look.heard,
        pool=pool(connection, scope) if wanted else None,
        promoted=rows.promoted if look.stage in SINCE_PROMOTION else None,
    )


def state_digest(evidence: Evidence) -> str:
    """Identity of the evidence on which a decision was taken."""
    return _state(evidence)[1]
