"""A small world: a real SQLite ledger, two models, patients, and doubles of the data plane."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import clinical_assets.rollout.tick  # noqa: F401  declares the evidence tables
from clinical_assets.foundation.clock import SECONDS_PER_DAY
from clinical_assets.foundation.database import create_tables, engine_for
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.controller import Order
from clinical_assets.rollout.entries import Arm, Outcome, Prediction, PredictionStatus
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.opening import open_rollout, roll_back
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.rollout.routing import RouteState
from clinical_assets.rollout.tick import TickResult, tick

from .data_plane import FileRouterDouble, StatedAuthority, TelemetryDouble
from .patients import cohort

CHAMPION, CHALLENGER, NEWER = "a" * 64, "b" * 64, "c" * 64
CANCER = "colon"
DAY = SECONDS_PER_DAY


@dataclass
class Hand:
    """A clock that the test sets."""

    at: float

    def now(self) -> float:
        return self.at

    def __call__(self) -> float:
        return self.at


class World:
    """One cancer type with a champion in service. Clinical time and wall time are set by hand."""

    def __init__(self, directory: Path, url: str = "") -> None:
        self.directory = directory
        self.engine = engine_for(url or f"sqlite:///{directory / 'ledger.db'}")
        create_tables(self.engine)
        self.wall = Hand(1_800_000_000.0)
        self.clock = Hand(400_000_000.0)
        self.ledger = Ledger(self.engine, self.wall)
        self.authority = StatedAuthority({CHAMPION: Scope.TRAFFIC, CHALLENGER: Scope.TRAFFIC, NEWER: Scope.TRAFFIC})
        self.router = FileRouterDouble(directory, self.authority, self.wall)
        self.telemetry = TelemetryDouble({CHAMPION: [0, 0]})
        self.rng = np.random.default_rng(50)
        self.patients = 0
        self.plan = RolloutPlan(
            cancer=CANCER,
            champion=CHAMPION,
            challenger=CHALLENGER,
            champion_brier=0.0778,
            policy=RolloutPolicy(min_requests=20, dwell_days=1.0, watch_days=2.0),
        )
        self.router.serve(RouteState(CANCER, "", CHAMPION))
        self.rollout_id = ""

    def copy(self, directory: Path) -> World:
        """The same moment in another directory."""
        self.engine.dispose()
        shutil.copytree(self.directory, directory)
        twin = World(directory)
        twin.router.serve(self.router.read(CANCER))
        twin.router.log.write_text(self.router.log.read_text())
        twin.wall.at, twin.clock.at, twin.patients = self.wall.at, self.clock.at, self.patients
        twin.plan, twin.rollout_id = self.plan, self.rollout_id
        twin.telemetry.counters = copy.deepcopy(self.telemetry.counters)
        return twin

    def open(self, **changes: object) -> str:
        self.plan = RolloutPlan.model_validate(self.plan.model_dump() | changes)
        self.rollout_id = open_rollout(self.ledger, self.plan, "trainer", self.clock.at).id
        return self.rollout_id

    def tick(self, seconds: float = 5.0, **changes: object) -> TickResult:
        self.wall.at += seconds
        ports = {"router": self.router, "telemetry": self.telemetry, "authority": self.authority, "holder": "one"}
        return tick(self.rollout_id, ledger=self.ledger, clock=self.clock, **(ports | changes))

    def roll_back(self, reason: str = "seen enough", rule: str = "operator") -> TickResult:
        return roll_back(
            self.rollout_id, self.ledger, self.router, self.telemetry, self.authority, self.clock, "cli",
            Order("dr_mueller", reason, rule),
        )  # fmt: skip

    def until(self, stage: str, limit: int = 12) -> TickResult:
        """Tick until the rollout stands in `stage`."""
        for _ in range(limit):
            result = self.tick()
            if result.stage == stage:
                return result
        raise AssertionError(f"still in {result.stage}: {result.decision} {result.error}")

    def treat(self, n: int, worse: int = 0, errors: int = 0, label: bool = True, invalid: int = 0) -> list[str]:
        """Send `n` new patients through the route as it is; post their labels."""
        route = self.router.read(CANCER)
        champion, challenger, outcome = cohort((n,), self.rng, worse)
        arms = self.rng.uniform(size=n) < route.weight / 100
        entries, labels, ids = [], [], []
        for i in range(n):
            self.patients += 1
            ids.append(f"q{self.patients}")
            who = (ids[-1], f"p{self.patients}")
            served = route.challenger if arms[i] else route.champion
            risk = challenger[i] if arms[i] else champion[i]
            entries.append(self._prediction(*who, served, Arm.CHALLENGER if arms[i] else Arm.CHAMPION, route, risk))
            if route.mirror and arms[i]:
                entries.append(self._prediction(*who, route.champion, Arm.SHADOW, route, champion[i]))
            elif route.mirror:
                entries.append(self._prediction(*who, route.challenger, Arm.SHADOW, route, challenger[i], i < invalid))
            labels.append(Outcome(ids[-1], CANCER, self.clock.at, label=int(outcome[i])))
        self.ledger.record_predictions(entries)
        if label:
            self.ledger.record_outcomes(labels)
        on_b = n if route.mirror and not route.weight else int(arms.sum())
        self.telemetry.add(CHAMPION, n - int(arms.sum()))
        if route.challenger:
            self.telemetry.add(route.challenger, on_b, errors)
        return ids

    def _prediction(
        self, request: str, patient: str, digest: str, arm: Arm, route: RouteState, risk: float, invalid: bool = False
    ) -> Prediction:
        status = PredictionStatus.INVALID if invalid else PredictionStatus.OK
        score = None if invalid else float(risk)
        at, weight = self.clock.at, route.weight / 100
        return Prediction(request, digest, CANCER, self.rollout_id, patient, arm, weight, score, at, status)

    def share(self) -> int:
        route = self.router.read(CANCER)
        return route.weights.get(CHALLENGER, 0)

    def rows(self) -> list:
        return self.ledger.transitions(self.rollout_id)

    def to_ramp(self) -> None:
        """Open, prove non-inferiority in shadow, enter the first ramp stage."""
        self.open()
        self.until("shadow")
        for _ in range(8):
            self.treat(400)
            if self.tick().stage == "5":
                return
        raise AssertionError("non-inferiority was not proven")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.engine.dispose()


@pytest.fixture
def any_world(tmp_path: Path, database_url: str) -> Iterator[World]:
    """The same on SQLite and on PostgreSQL."""
    made = World(tmp_path, database_url)
    yield made
    made.engine.dispose()
