"""Waiting until the data plane shows what was written."""

from __future__ import annotations

import time
from collections.abc import Callable

from clinical_assets.rollout.routing import RoutingUnavailable


def confirmed(condition: Callable[[], bool], timeout: float, pause: float) -> bool:
    """Whether `condition` holds within `timeout` seconds, asked every `pause` seconds and at least once.

    Raises:
        RoutingUnavailable: the last time it was asked, the data plane did not answer.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            if condition():
                return True
        except RoutingUnavailable:
            if time.monotonic() >= deadline:
                raise
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
