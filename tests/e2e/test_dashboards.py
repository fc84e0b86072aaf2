"""Every query of every dashboard, on a real Prometheus that watched a real rollout: Envoy, model servers, patients.

The rollout is mirrored, labelled, loses its route for a while, and is rolled back when its answers get stuck.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import dagster as dg
import pytest

import clinical_assets.rollout.tick  # noqa: F401  declares the evidence tables
from clinical_assets.foundation.clock import ReplayClock, read_clock
from clinical_assets.foundation.database import create_tables
from clinical_assets.instance import prepare_dagster_home
from clinical_assets.modeling.model import FamilyModel
from clinical_assets.rollout.authority import EvidenceAuthority
from clinical_assets.rollout.opening import open_rollout
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.policy import RolloutPolicy
from clinical_assets.rollout.routing import RouteState
from clinical_assets.rollout.tick import TickResult, tick
from clinical_assets.serving import control
from clinical_assets.serving.client import GatewayClient
from clinical_assets.serving.envoy import EnvoyRouter, EnvoyTelemetry
from clinical_assets.serving.envoy.files import ROUTES, ConfigFile
from clinical_assets.serving.ports import Ports
from sensors.alerts import alert
from tests.e2e.watching import Watch, monitored, queries
from tests.monitoring.snapshots import extracted
from tests.monitoring.ticks import record_tick
from tests.servers import program
from tests.serving.conftest import CANCER, HORIZON, Hospital, fit_model, free_ports, make_hospital, port_environment
from tests.serving.conftest import wait_until as wait

pytestmark = pytest.mark.e2e
HORIZON_REAL_S = 1.0


class Story:
    """One rollout on the hospital's data plane, and the patients that pass through it."""

    def __init__(self, hospital: Hospital, ports: Ports) -> None:
        self.hospital, self.home = hospital, hospital.home
        self.client = GatewayClient(ports.gateway)
        self.authority = EvidenceAuthority(hospital.records, hospital.ledger, "local")
        self.router = EnvoyRouter(self.home.dataplane, self.authority)
        self.patients = 0
        self.rollout = ""

    def route(self, weight: int = 0, mirror: bool = False) -> RouteState:
        champion, challenger = self.hospital.champion, self.hospital.challenger
        return RouteState(CANCER, self.rollout, champion, challenger if weight or mirror else None, weight, mirror)

    def serve(self, route: RouteState) -> None:
        self.router.apply(route, time.time())

    def open(self) -> None:
        policy = RolloutPolicy(min_shadow_pairs=10_000, constant_run=5, deadline_days=1e6)
        digests = {"champion": self.hospital.champion, "challenger": self.hospital.challenger}
        plan = RolloutPlan(cancer=CANCER, **digests, champion_brier=0.1, horizon_days=HORIZON, policy=policy)
        now = read_clock(self.home.clock).now()
        self.rollout = open_rollout(self.hospital.ledger, plan, "trainer", now).id

    def tick(self) -> TickResult:
        telemetry = EnvoyTelemetry(self.home.dataplane)
        ports = (self.router, telemetry, self.authority, read_clock(self.home.clock))
        return tick(self.rollout, self.hospital.ledger, *ports, "test")

    def treat(self, n: int, alike: bool = False) -> list[str]:
        ids = []
        for _ in range(n):
            self.patients += 1
            ids.append(f"q{self.patients}")
            nodes = 4 if alike else self.patients % 19
            row = {"age": 63.0, "nodes": nodes, "grade": "moderate", "obstruct": 0.0}
            self.client.infer(CANCER, row, f"{self.patients:032x}", ids[-1])
        return ids

    def label(self, ids: list[str]) -> None:
        time.sleep(HORIZON_REAL_S)
        outcomes = [{"request_id": one, "time": 900.0, "event": int(index % 3 == 0)} for index, one in enumerate(ids)]
        self.client.post_outcomes(CANCER, outcomes)

    def lose_route(self) -> None:
        file = ConfigFile(self.home.dataplane, ROUTES)
        version, found = file.read()
        found[0]["virtual_hosts"][0]["routes"].clear()
        file.write(version + 1, found)
        assert self.router.confirm(CANCER, version + 1, 5.0)

    def surroundings(self) -> None:
        """What other parts of the platform leave behind: a snapshot, a tick of the daemon, an alert."""
        extracted("colon", "2026-01-02T00:00:00+00:00")
        with dg.DagsterInstance.from_config(str(prepare_dagster_home(self.home))) as instance:
            record_tick(instance, "rollout", time.time())
        alert(logging.getLogger("test"), "scores have drifted", cancer=CANCER)


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    program("prometheus")
    models: tuple[FamilyModel, FamilyModel] = fit_model(1), fit_model(2)
    hospital = make_hospital(tmp_path_factory.mktemp("hospital"), models)
    create_tables(hospital.ledger.engine)
    ports = free_ports()
    own = {"CLINICAL_HOME": str(hospital.home.root), "DAGSTER_HOME": str(hospital.home.dagster)}
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CLINICAL_DATABASE_URL", "CLINICAL_ALERT_WEBHOOK"):
            patch.delenv(name, raising=False)
        for name, value in (port_environment(ports) | own).items():
            patch.setenv(name, value)
        control.ensure_running(hospital.home)
        try:
            with monitored() as watching:
                _told(Story(hospital, ports), watching)
                yield watching
        finally:
            control.stop(hospital.home)


def _told(story: Story, watching: Watch) -> None:
    hospital = story.hospital

    def scraped(expression: str) -> None:
        wait(lambda: bool(watching.shown(expression)), 60, f"Prometheus holds {expression}")

    for digest, keep in ((hospital.champion, None), (hospital.challenger, hospital.champion)):
        hospital.approve(digest)
        hospital.desired.place(CANCER, digest, keep)
    story.surroundings()
    story.serve(story.route())
    story.serve(story.route(weight=50))
    scraped('clinical_served_weight_ratio{arm="challenger"} == 0.5')
    for _ in range(4):  # rates need samples while requests arrive
        story.treat(10)
        time.sleep(1.0)
    story.serve(story.route())
    ReplayClock(time.time(), 1e9, HORIZON * 86_400 / HORIZON_REAL_S).save(story.home.clock)
    story.open()
    wait(lambda: story.tick().stage == "shadow", 10, "the rollout is mirrored")
    story.label(story.treat(30))
    wait(lambda: story.tick().evidence.paired.n == 30, 10, "labels are evidence")  # type: ignore[union-attr]
    scraped('clinical_rollout_patients{kind="paired"} == 30')
    story.lose_route()
    assert story.tick().decision.rule == "routing_lost"  # type: ignore[union-attr]
    scraped('clinical_rollout_hold_timestamp_seconds{rule="routing_lost"}')
    story.serve(story.route(mirror=True))
    story.tick()
    story.treat(8, alike=True)
    wait(lambda: story.tick().stage == "rolled_back", 20, "stuck answers are rolled back")
    scraped("clinical_rollback_seconds")
    scraped("clinical_rollout_decisions_total{action='ROLLBACK'}")


def test_every_panel_shows_something(watch: Watch) -> None:
    """Each query as Grafana sends it, over the time of the story."""
    asked = list(queries())
    assert len(asked) > 40
    assert [panel for panel, expression in asked if not watch.shown(expression)] == []


def test_what_prometheus_holds_is_what_happened(watch: Watch) -> None:
    stages = {series["metric"]["stage"] for series in watch.shown("clinical_rollout_info")}
    assert stages >= {"shadow"}
    ended = watch.shown('clinical_rollouts_ended_total{stage="rolled_back"}')
    assert [series["values"][-1][1] for series in ended] == ["1"]
    arms = {series["metric"]["arm"] for series in watch.shown("clinical_risk_score_count")}
    assert arms == {"champion", "challenger", "shadow"}
    shares = {
        s["metric"]["arm"]: max(float(v) for _, v in s["values"]) for s in watch.shown("clinical_served_weight_ratio")
    }
    assert shares == {"champion": 1.0, "challenger": 0.5}
