"""Which model answers a request, and in which arm: decided by Envoy, told to the server in headers that it overwrites.

Measured on Envoy 1.40:

* a header set on the weighted cluster wins over the same header set on the route, whatever the client sent, so each
  header is set at one level only: the arm on the weighted cluster, everything else on the route;
* the mirrored copy carries the headers of the original *including its arm*; its authority gets the suffix `-shadow`;
  `request_headers_mutations` of the mirror policy change the copy alone: they name the model it is meant for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Arm = Literal["champion", "challenger", "shadow"]

ARM = "x-arm"
COPY_FOR = "x-copy-for"
CHAMPION = "x-champion-digest"
CHALLENGER = "x-challenger-digest"
ROLLOUT = "x-rollout-id"
WEIGHT = "x-challenger-weight"
PATIENT = "x-patient-id"
REQUEST = "x-request-id"
VARIANT = "x-variant"
"""Set by a tester to choose a model by name. `x-patient-id` and `x-request-id` are the caller's, the others Envoy's."""

ORIGINAL = "none"
"""Value of `x-copy-for` on a request that is not a mirrored copy."""


class NoRoute(ValueError):
    """The request did not come through the gateway, or its routing headers make no sense."""


@dataclass(frozen=True)
class Assignment:
    """
    Attributes:
        digest: the model that should answer.
        fallback: the model that may answer in its place (the champion, for the challenger's patients).
        rollout_id: "" when the answer is not part of a rollout (route at rest, pinned by a tester).
        propensity: the challenger's weight in force, 0..1.
    """

    arm: Arm
    digest: str
    fallback: str | None
    rollout_id: str
    propensity: float


def resolve(headers: Mapping[str, str]) -> Assignment | None:
    """The assignment, or `None` for a copy addressed to the model that already answers the original.

    Raises:
        NoRoute: see the class.
    """
    arm = headers.get(ARM)
    digests = {"champion": headers.get(CHAMPION), "challenger": headers.get(CHALLENGER)}
    copy_for = headers.get(COPY_FOR, ORIGINAL)
    target = arm if copy_for == ORIGINAL else copy_for
    digest = digests.get(target or "")
    if arm not in digests or not digest:
        raise NoRoute("the request carries no route; send it through the gateway, not to a model server")
    if copy_for == arm:
        return None
    try:
        propensity = int(headers.get(WEIGHT, "0")) / 100
    except ValueError as error:
        raise NoRoute(f"{WEIGHT} is not a whole number") from error
    shadow = copy_for != ORIGINAL
    return Assignment(
        arm="shadow" if shadow else "champion" if arm == "champion" else "challenger",
        digest=digest,
        fallback=digests["champion"] if arm == "challenger" and not shadow else None,
        rollout_id=headers.get(ROLLOUT, ""),
        propensity=propensity,
    )
