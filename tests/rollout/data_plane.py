"""Doubles of what lies outside the rollout: the data plane and the signed verdicts. The ledger in these tests is real.

Stage, verdict and restart logic are judged here against a router whose faults can be commanded; the real Envoy router
has its own tests, and the end-to-end test joins both.
"""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from clinical_assets.audit.records import Refused
from clinical_assets.audit.statements import StatementRefused
from clinical_assets.gates.verdict import Scope
from clinical_assets.rollout.entries import Rollout
from clinical_assets.rollout.routing import (
    AppliedRoute,
    Hold,
    NoData,
    RouteConflict,
    RouteState,
    RoutingUnavailable,
    ServiceCounts,
    guard,
    unfenced,
)


@dataclass
class StatedAuthority:
    """Verdicts and approvals as the test states them."""

    scopes: dict[str, Scope] = field(default_factory=dict)
    approved_by: str = ""

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> None:
        granted = self.scopes.get(model_digest, Scope.NONE)
        if not granted.covers(needed):
            raise Refused(f"{cancer}: model {model_digest[:12]} has {granted}, {needed} is needed")

    def marks(self, cancers: Sequence[str]) -> dict[str, object]:
        said = (tuple(sorted(self.scopes.items())), self.approved_by)
        return dict.fromkeys(cancers, said)

    def stands_until(self, rollout: Rollout, now: float) -> float:
        return math.inf

    def approver(self, rollout: Rollout, now: float) -> str:
        if not self.approved_by:
            raise StatementRefused(f"{rollout.cancer}: nobody approved {rollout.id}")
        return self.approved_by


class FileRouterDouble:
    """A `TrafficRouter` whose data plane is one JSON file, shared by threads and processes; no traffic flows.

    `writes` holds one line for every change of the served route. `fault` is raised by the next `apply` calls, before or
    (with `after_write`) after the change; `down` makes the data plane unreachable, `conflict` foreign.
    """

    def __init__(self, directory: Path, authority: StatedAuthority, wall) -> None:
        self.state, self.log = directory / "route.json", directory / "writes.log"
        self.authority = authority
        self.wall = wall
        self.fault: Exception | None = None
        self.after_write = False
        self.down = False
        self.conflict = ""
        self.recreate = False
        self.writer = ""

    def last_writer(self, cancer: str) -> str:
        return self.writer

    def read(self, cancer: str) -> RouteState | None:
        if self.conflict:
            raise RouteConflict(self.conflict)
        if self.down:
            raise RoutingUnavailable("the data plane does not answer")
        return RouteState(**json.loads(self.state.read_text())) if self.state.exists() else None

    def apply(self, route: RouteState, now: float, still_ours: Hold = unfenced) -> AppliedRoute:
        current = self.read(route.cancer)
        guard(route, current, self.authority, now)
        still_ours()
        if self.fault is not None and not self.after_write:
            raise self.fault
        if route != current:
            self.serve(route)
        if self.fault is not None:
            raise self.fault
        return AppliedRoute(len(self.writes), self.wall())

    def confirm(self, cancer: str, version: int, timeout: float) -> bool:
        return len(self.writes) >= version

    def serve(self, route: RouteState) -> None:
        """Change the served route, by whatever hand."""
        with self.log.open("a") as log:
            log.write(json.dumps(route.weights) + "\n")
        aside = self.state.with_suffix(f".{os.getpid()}")
        aside.write_text(json.dumps(asdict(route)))
        os.replace(aside, self.state)

    @property
    def writes(self) -> list[dict[str, int]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []


@dataclass
class TelemetryDouble:
    """Counters as the test counts them."""

    counters: dict[str, list[int]] = field(default_factory=dict)
    latency: dict[str, tuple[tuple[float, int], ...]] = field(default_factory=dict)
    missing: str = ""
    broken: str = ""

    def counts(self, cancer: str) -> dict[str, ServiceCounts] | NoData:
        if self.broken:
            raise ValueError(self.broken)
        if self.missing:
            return NoData(self.missing)
        return {digest: ServiceCounts(*c, self.latency.get(digest, ())) for digest, c in self.counters.items()}

    def add(self, digest: str, requests: int, errors: int = 0) -> None:
        n, e = self.counters.get(digest, (0, 0))
        self.counters[digest] = [n + requests, e + errors]


class KilledAt:
    """Kills this process (SIGKILL) at the k-th call of the wrapped functions, before or after it took effect."""

    def __init__(self, k: int, after: bool) -> None:
        self.left, self.after = k, after

    def wrap(self, owner: object, *names: str) -> None:
        for name in names:
            self._wrap_one(owner, name)

    def _wrap_one(self, owner: object, name: str) -> None:
        original = getattr(owner, name)

        def call(*args, **kwargs):
            self.left -= 1
            last = self.left == 0  # of this call, which may make further wrapped calls
            if last and not self.after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*args, **kwargs)
            if last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, call)
