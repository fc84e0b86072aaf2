"""Ports between the rollout controller and the data plane, and the guard that every route write passes.

A router (local Envoy, Istio) implements `TrafficRouter`; what counts requests implements `Telemetry`; what knows the
signed verdicts implements `Authority`. Statistics and stages do not belong here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

from clinical_assets.gates.verdict import Scope


class RoutingError(RuntimeError):
    """A route could not be read, written or confirmed."""


class RouteConflict(RoutingError):
    """Another writer changed the route in between, or the route holds a destination that is not ours."""


class RoutingUnavailable(RoutingError):
    """The data plane or its API cannot be reached; nothing is known about what it serves now."""


class RouteRejected(RoutingError):
    """The data plane refused the update and keeps serving the previous route."""


@dataclass(frozen=True)
class RouteState:
    """What the proxy does for one cancer type.

    The champion answers `100 - weight` per cent of the patients and the challenger `weight` per cent; with `mirror`
    every request is also copied to the challenger, whose answer nobody sees. During the post-promotion watch the new
    model is still the challenger, at weight 100: the way back is the same single write as from any other stage.

    Attributes:
        rollout_id: the rollout that owns the route, "" for a route at rest.
        weight: whole per cent, 0..100.
        pinned: requests with the test header may choose the challenger by name.
        refused: nobody gets a prediction; the champion is only named, as the model to which a person can return.
    """

    cancer: str
    rollout_id: str
    champion: str
    challenger: str | None = None
    weight: int = 0
    mirror: bool = False
    pinned: bool = False
    refused: bool = False

    def __post_init__(self) -> None:
        if not self.champion:
            raise ValueError(f"{self.cancer}: a route needs a champion digest")
        if isinstance(self.weight, bool) or not isinstance(self.weight, int) or not 0 <= self.weight <= 100:
            raise ValueError(f"{self.cancer}: weight must be a whole per cent between 0 and 100, got {self.weight!r}")
        if self.challenger is None and (self.weight or self.mirror or self.pinned):
            raise ValueError(f"{self.cancer}: weight, mirror and pin need a challenger")
        if self.refused and self.challenger is not None:
            raise ValueError(f"{self.cancer}: a route that refuses has no challenger")
        if self.challenger == self.champion:
            raise ValueError(f"{self.cancer}: champion and challenger are the same model {self.champion[:12]}")

    @property
    def weights(self) -> dict[str, int]:
        """Per cent by digest; the sum is always 100."""
        if self.challenger is None:
            return {self.champion: 100}
        return {self.champion: 100 - self.weight, self.challenger: self.weight}

    def at_rest(self) -> RouteState:
        """The champion alone: no challenger, mirror or pin. This is the one write of a rollback."""
        return replace(self, challenger=None, weight=0, mirror=False, pinned=False)


@dataclass(frozen=True)
class AppliedRoute:
    """A route that the data plane itself has confirmed. `version` never decreases; `confirmed_at` is wall time."""

    version: int
    confirmed_at: float


Hold = Callable[[], object]
"""Proves that the caller still holds the lease under which it decided, and raises if it does not."""


def unfenced() -> None:
    """For callers that no one can overtake."""


@runtime_checkable
class TrafficRouter(Protocol):
    """Writes and observes the named route of a cancer type and touches nothing else.

    `apply` must call `guard` before it writes, be idempotent (the same route twice is one change), and return only
    when the data plane reports the new version.

    Attributes:
        recreate: a route that somebody deleted is put back with the challenger at 0; else it waits for a person.
    """

    recreate: bool

    def read(self, cancer: str) -> RouteState | None:
        """The route as the data plane serves it now, `None` if there is none.

        Raises:
            RoutingUnavailable: the data plane does not answer.
        """
        ...

    def last_writer(self, cancer: str) -> str:
        """Who wrote the route last, "" if that was the platform or cannot be told. Never raises for an outage."""
        ...

    def apply(self, route: RouteState, now: float, still_ours: Hold = unfenced) -> AppliedRoute:
        """Make `route` true and confirm it in the data plane. `now` is wall time (seconds), for the verdict check.

        `still_ours` is called after the route was read and before every attempt to write it; what it raises ends the
        call without a write. So a writer that was overtaken cannot undo what its successor wrote.

        Raises:
            RouteConflict, RoutingUnavailable, RouteRejected: nothing was changed, or it is unknown whether it was.
        """
        ...

    def confirm(self, cancer: str, version: int, timeout: float) -> bool:
        """Whether the data plane serves at least `version` within `timeout` seconds."""
        ...


@runtime_checkable
class Authority(Protocol):
    """Knows the signed decision records."""

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> Any:
        """Return the signed record, or raise an error that says why the model lacks the scope at wall time `now`."""
        ...


def guard(new: RouteState, current: RouteState | None, authority: Authority, now: float) -> None:
    """Refuse a route in which a model gains scope without a valid signed verdict on exactly that model.

    A larger challenger weight, a new champion and the end of a refusal need `TRAFFIC`; a new mirror or pin needs
    `SHADOW`. Lowering the weight, removing the challenger, keeping the champion and refusing gain nothing and always
    pass, so a rollback never waits for a verdict.

    Raises:
        Whatever `authority.require` raises, unchanged.
        RouteConflict: the route belongs to another cancer type.
    """
    if current is not None and current.cancer != new.cancer:
        raise RouteConflict(f"route of {current.cancer} cannot be replaced by one for {new.cancer}")
    if new.refused and current is not None and new.champion == current.champion:
        return
    if current is None or new.champion != current.champion or (current.refused and not new.refused):
        authority.require(new.champion, new.cancer, Scope.TRAFFIC, now)
    if new.challenger is None:
        return
    known = current if current is not None and current.challenger == new.challenger else None
    if new.weight > (known.weight if known else 0):
        authority.require(new.challenger, new.cancer, Scope.TRAFFIC, now)
    elif (new.mirror or new.pinned) and not (known and (known.mirror or known.pinned or known.weight)):
        authority.require(new.challenger, new.cancer, Scope.SHADOW, now)


@dataclass(frozen=True)
class ServiceCounts:
    """Cumulative since the counter's start. Errors: 5xx, timeouts, resets and failed connections; never 4xx.

    `latency`: rising (upper bound in ms, answers up to it); the last row holds all timed answers. Empty: not measured.
    """

    requests: int
    errors: int
    latency: tuple[tuple[float, int], ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class NoData:
    """Telemetry is missing, which is neither good nor bad news."""

    reason: str


@runtime_checkable
class Telemetry(Protocol):
    """Request counters of the data plane."""

    def counts(self, cancer: str) -> dict[str, ServiceCounts] | NoData:
        """Cumulative counts by model digest. A variant in shadow is counted on its mirrored requests.

        Raises:
            ValueError: the source answers with something that cannot be attributed to one digest (configuration error).
        """
        ...
