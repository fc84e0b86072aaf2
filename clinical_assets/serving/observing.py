"""What a data plane is seen to do with one cancer type, whatever notation it was found in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from clinical_assets.rollout.routing import RouteConflict, RouteState
from clinical_assets.serving import arms


@dataclass(frozen=True)
class Observed:
    """`state` holds the weights in force; `declared` the weight that the last route write stated.

    They differ after a hand edit. Only `declared` went through the guard, so only it counts as verified scope.
    """

    state: RouteState
    declared: int

    @property
    def verified(self) -> RouteState:
        return replace(self.state, weight=min(self.state.weight, self.declared))


@dataclass(frozen=True)
class Split:
    """The route that answers inference requests: its headers, and its weight by destination."""

    headers: Mapping[str, str]
    weights: Mapping[str, int]
    mirror: bool
    pinned: bool
    refused: bool = False


Destination = Callable[[str], str]
"""Name of the destination that stands for a model digest."""


def interpret(cancer: str, split: Split, champion_at: Destination, challenger_at: Destination) -> Observed:
    """The route behind a split.

    Raises:
        RouteConflict: a destination that is not ours, or weights that are not whole or do not add up to 100.
    """
    champion, challenger = split.headers.get(arms.CHAMPION, ""), split.headers.get(arms.CHALLENGER) or None
    if not champion:
        raise RouteConflict(f"{cancer}: the route names no champion; another writer changed it")
    if split.refused:
        return Observed(RouteState(cancer, split.headers.get(arms.ROLLOUT, ""), champion, refused=True), 0)
    ours = {champion_at(champion)} | ({challenger_at(challenger)} if challenger else set())
    if foreign := sorted(set(split.weights) - ours):
        raise RouteConflict(f"{cancer}: the route holds the foreign destination {', '.join(foreign)}; remove it")
    if any(weight < 0 for weight in split.weights.values()) or sum(split.weights.values()) != 100:
        raise RouteConflict(f"{cancer}: the weights {dict(split.weights)} of the route do not add up to 100")
    state = RouteState(
        cancer=cancer,
        rollout_id=split.headers.get(arms.ROLLOUT, ""),
        champion=champion,
        challenger=challenger,
        weight=split.weights.get(challenger_at(challenger), 0) if challenger else 0,
        mirror=split.mirror,
        pinned=split.pinned,
    )
    declared = split.headers.get(arms.WEIGHT, "0")
    return Observed(state, int(declared) if declared.isdecimal() else 0)


def retreats(route: RouteState, current: RouteState) -> bool:
    """Whether `route` gives no model more than it has: same champion, and at most the challenger's present exposure."""
    if route.champion != current.champion or (current.refused and not route.refused):
        return False
    if route.challenger is None:
        return True
    return (
        route.challenger == current.challenger
        and route.weight <= current.weight
        and route.mirror <= current.mirror
        and route.pinned <= current.pinned
    )


def way_back(route: RouteState, headers: Mapping[str, str]) -> Observed | None:
    """What stands for a broken route if `route` leads back to its own champion alone, else `None`."""
    if route.challenger is None and headers.get(arms.CHAMPION) == route.champion:
        return Observed(replace(route, rollout_id=headers.get(arms.ROLLOUT, "")), 0)
    return None
