"""A serving back end that is down does not keep a rollback from being written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinical_assets.rollout.routing import RoutingUnavailable
from sensors.rollout import tick_all
from tests.rollout.conftest import World


class Unreachable:
    """A serving back end whose API does not answer."""

    def placed(self, cancer: str) -> list[str]:
        raise RoutingUnavailable("the Kubernetes API does not answer")

    def place(self, cancer: str, digest: str, keep: str | None = None) -> object:
        raise RoutingUnavailable("the Kubernetes API does not answer")

    def retire(self, cancer: str, digest: str) -> None:
        raise RoutingUnavailable("the Kubernetes API does not answer")

    def finish_retiring(self) -> None:
        raise RoutingUnavailable("the Kubernetes API does not answer")


def test_a_rollback_is_written_although_the_serving_back_end_is_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    world = World(tmp_path)
    world.open()
    world.until("shadow")
    world.treat(10, invalid=1)
    resources: tuple[Any, ...] = (
        SimpleNamespace(ledger=lambda: world.ledger),
        SimpleNamespace(router=lambda: world.router, authority=lambda: world.authority),
        SimpleNamespace(source=lambda: world.telemetry),
        SimpleNamespace(desired_state=Unreachable),
    )
    events = list(tick_all(*resources))
    assert [event.metadata["stage"].value for event in events] == ["rolled_back"]
    assert world.share() == 0
    world.engine.dispose()
