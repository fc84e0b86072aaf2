"""A rollout through a real Envoy on this machine, under the same schedules as in a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from clinical_assets.rollout.routing import RoutingError, RoutingUnavailable
from clinical_assets.serving.envoy import EnvoyRouter
from clinical_assets.serving.envoy.admin import EnvoyAdmin
from clinical_assets.serving.envoy.files import CLUSTERS, ROUTES, ConfigFile, empty_route_config
from clinical_assets.serving.envoy.reading import observe
from clinical_assets.serving.observing import Observed
from tests.serving.conftest import Gateway, running_gateway, wait_until
from tests.serving.planes import LocalPlane

from .conftest import CANCER
from .schedules import LIMIT_S, Schedule, run_schedules, world_in_ramp


class LocalSchedule(Schedule):
    gateway: Gateway
    latest: LocalSchedule | None = None

    def set_up(self) -> None:
        self.down = False
        self.next: list[Callable[[], None]] = []
        dataplane, admin = self.gateway.dataplane, EnvoyAdmin(self.gateway.ports.admin)
        for kind, resources in ((ROUTES, [empty_route_config()]), (CLUSTERS, [])):
            file = ConfigFile(dataplane, kind)
            found, held = file.read()
            if held == resources:
                continue  # Envoy takes no version without news
            version = max(found, admin.routes()[0], admin.clusters_version()) + 1
            file.write(version, resources)
            seen = admin.clusters_version if kind == CLUSTERS else lambda: admin.routes()[0]
            wait_until(lambda seen=seen, version=version: seen() >= version, 20, f"empty {kind}")
        self.plane = LocalPlane(self.gateway)
        LocalSchedule.latest = self

    def router(self) -> Any:
        made = EnvoyRouter(self.gateway.dataplane, self.world.authority, recreate=True)
        made._routes.ours = True  # type: ignore[attr-defined]  # other hands write through files of their own
        return made

    def write_points(self, router: Any) -> list[tuple[Any, tuple[str, ...]]]:
        return [(router._clusters, ("write",)), (router._routes, ("write",))]

    def judge(self, before: dict[str, Any], after: list[dict[str, Any]]) -> None:
        """Every route file of ours. Another hand writes through `LocalPlane` and is not judged."""
        found = observe(CANCER, after[0])  # raises unless the weights are whole and add up to 100
        try:
            had = observe(CANCER, before)
        except RoutingError:
            had = None
        self.gained(had.verified.weight if had else 0, found.state.weight if found else 0)

    def edit(self, share: int) -> None:
        found = self.in_file()
        if found is not None and 0 < found.state.weight < 100 and found.state.weight != share:
            self.by_hand(lambda: self.plane.edit(100 - share, share))

    def delete(self) -> None:
        if self.in_file() is not None:
            self.by_hand(self.plane.delete)

    def in_file(self) -> Observed | None:
        return observe(CANCER, ConfigFile(self.gateway.dataplane, ROUTES).read()[1][0])

    def by_hand(self, act: Callable[[], None]) -> None:
        kept, self.down = self.down, False
        act()
        self.down = kept

    def before_our_next_write(self, act: Callable[[], None]) -> None:
        self.next[:] = [act]

    def repair(self) -> None:
        self.down = False

    @rule(down=st.booleans())
    def outage(self, down: bool) -> None:
        self.down = down


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("plane")) as running:
        yield running


@pytest.mark.timeout(LIMIT_S)
def test_nothing_goes_wrong_in_any_order(
    gateway: Gateway, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, write, apply = EnvoyAdmin.get, ConfigFile.write, EnvoyRouter.apply

    def get(admin: EnvoyAdmin, path: str) -> bytes:
        if LocalSchedule.latest is not None and LocalSchedule.latest.down:
            raise RoutingUnavailable("Envoy does not answer on its admin port")
        return ask(admin, path)

    def judged(file: ConfigFile, version: int, resources: list[dict[str, Any]]) -> None:
        schedule = LocalSchedule.latest
        if file.kind == ROUTES and schedule is not None and getattr(file, "ours", False):
            schedule.judge(file.read()[1][0], resources)
        write(file, version, resources)

    def applied(router: EnvoyRouter, *args: Any) -> Any:
        """What comes in between comes before the lock that every local writer takes."""
        if LocalSchedule.latest is not None and LocalSchedule.latest.next:
            LocalSchedule.latest.next.pop()()
        return apply(router, *args)

    monkeypatch.setattr(EnvoyAdmin, "get", get)
    monkeypatch.setattr(EnvoyRouter, "apply", applied)
    monkeypatch.setattr(ConfigFile, "write", judged)
    LocalSchedule.gateway, LocalSchedule.before = gateway, world_in_ramp(tmp_path_factory.mktemp("ramp"))
    run_schedules(LocalSchedule)
