"""What the exporter shows is what the ledger holds, whether it was read in one look or in many."""

from __future__ import annotations

import math
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.records import RecordStore
from clinical_assets.foundation.home import Home
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Tier, Verdict
from clinical_assets.monitoring.collector import PlatformCollector
from clinical_assets.monitoring.database import LedgerAbsent, LedgerWindow
from clinical_assets.monitoring.rollouts import RolloutReader
from clinical_assets.monitoring.served import Served
from clinical_assets.monitoring.surroundings import DagsterSeen
from clinical_assets.rollout.evidence_log import EvidenceLog
from clinical_assets.rollout.guardrails import shares
from clinical_assets.rollout.routing import RoutingUnavailable
from tests.rollout.conftest import CANCER, CHALLENGER, CHAMPION, DAY, World

OURS, THEIRS = CHAMPION[:12], CHALLENGER[:12]


class Sight:
    """What the router double serves; `down` as when Envoy does not answer."""

    def __init__(self, world: World) -> None:
        self.world, self.down = world, False

    def read(self) -> Served:
        if self.down:
            raise RoutingUnavailable("Envoy does not answer")
        return {CANCER: self.world.router.read(CANCER)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    import clinical_assets.audit.records  # noqa: F401  declares its tables

    made = World(tmp_path)
    yield made
    made.engine.dispose()


def collector(world: World, sight: Sight | None = None) -> PlatformCollector:
    url = f"sqlite:///{world.directory / 'ledger.db'}"
    seen = DagsterSeen({"rollout": (10.0, False), "drift": (5.0, True)}, Counter(colon=2), Counter(running=1), [7.0])
    return PlatformCollector(Home(world.directory), url, sight or Sight(world), lambda: seen)


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(collected: PlatformCollector) -> Samples:
    return {(s.name, frozenset(s.labels.items())): s.value for metric in collected.collect() for s in metric.samples}


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def names(found: Samples) -> set[str]:
    return {name for name, _ in found}


def judge(world: World, digest: str, verdict: Verdict = Verdict.PASS) -> RecordStore:
    records = RecordStore(world.engine, KeyStore(world.directory / "keys"))
    check = CheckResult(id="X1", title="x", verdict=verdict, metric="x")
    reports = [
        GateReport(gate=gate, verdict=verdict, checks=(check,), required=("X1",), started="", finished="",
                   cancer=CANCER, model_digest=digest, policy_digest="p" * 64)
        for gate in GateName
    ]  # fmt: skip
    records.issue(
        cancer=CANCER, model_digest=digest, data_digests={}, policy_digest="p" * 64, lineage={}, reports=reports,
        tier=Tier.RESEARCH, actor="test", now=1_700_000_000.0, valid_days=90,
    )  # fmt: skip
    return records


def test_an_open_rollout_is_shown_with_stage_weights_and_evidence(world: World) -> None:
    world.open()
    world.until("shadow")
    world.treat(120)
    world.tick()
    world.clock.at += DAY
    found = samples(collector(world))
    labels = {"cancer": CANCER, "rollout": "colon-0001", "stage": "shadow", "champion": OURS, "challenger": THEIRS}
    assert value(found, "clinical_rollout_info", **labels) == 1
    assert value(found, "clinical_intended_weight_ratio", cancer=CANCER, arm="challenger", digest=THEIRS) == 0
    assert value(found, "clinical_served_weight_ratio", cancer=CANCER, arm="champion", digest=OURS) == 1
    assert value(found, "clinical_served_mirror", cancer=CANCER) == 1
    assert value(found, "clinical_rollout_patients", cancer=CANCER, kind="paired") == 120
    evidence = EvidenceLog(world.engine).current(world.rollout_id, world.plan)
    for test, share in shares(world.plan).items():
        at = {"cancer": CANCER, "challenger": THEIRS, "test": test}
        assert value(found, "clinical_rollout_log_e_value", **at) == evidence.log_harm()[test]
        assert value(found, "clinical_rollout_log_e_limit", **at) == pytest.approx(math.log(1 / share))
    mean = value(found, "clinical_rollout_brier_difference", cancer=CANCER, kind="paired", bound="mean")
    assert mean == evidence.paired.mean
    assert value(found, "clinical_label_timestamp_seconds", cancer=CANCER) == world.wall.at - 5
    assert value(found, "clinical_labels_recorded_total", cancer=CANCER) == 120


def test_a_rollback_ends_it_and_is_timed(world: World) -> None:
    world.open()
    world.until("shadow")
    reader = collector(world)
    samples(reader)
    world.roll_back()
    found = samples(reader)
    assert "clinical_rollout_info" not in names(found)
    assert value(found, "clinical_rollouts_ended_total", cancer=CANCER, stage="rolled_back") == 1
    assert value(found, "clinical_rollout_decisions_total", cancer=CANCER, action="ROLLBACK") == 1
    assert value(found, "clinical_model_role", cancer=CANCER, digest=OURS, role="champion") == 1


def test_many_looks_show_what_one_look_shows(world: World) -> None:
    """The reader goes on from its last place: what it shows must not depend on how often it looked."""
    often = collector(world)
    samples(often)
    world.open()
    for patients in (0, 60, 0, 150):
        world.treat(patients)
        world.tick()
        world.clock.at += DAY
        samples(often)
    world.roll_back()
    world.open(challenger="c" * 64)
    world.until("shadow")
    judge(world, CHAMPION)
    judge(world, "c" * 64, Verdict.WARN)
    changing = ("clinical_exporter_scrape_seconds", "clinical_label_lag_seconds", "clinical_disk_free_ratio")
    once, many = ({k: v for k, v in samples(c).items() if k[0] not in changing} for c in (collector(world), often))
    assert many == once
    assert len(once) > 40


def test_a_lost_route_is_a_hold_with_its_rule(world: World) -> None:
    world.open()
    world.until("shadow")
    world.router.state.unlink()
    world.tick()
    found = samples(collector(world))
    assert value(found, "clinical_rollout_hold_timestamp_seconds", cancer=CANCER, rule="routing_lost") == world.wall.at
    assert value(found, "clinical_route_foreign", cancer=CANCER) == 1


def test_verdicts_of_the_models_in_play_and_their_withdrawal(world: World) -> None:
    world.open()
    records = judge(world, CHALLENGER, Verdict.WARN)
    reader = collector(world)
    found = samples(reader)
    assert value(found, "clinical_gate_verdict", cancer=CANCER, digest=THEIRS, gate="bias", verdict="WARN") == 1
    assert value(found, "clinical_verdict_scope", cancer=CANCER, digest=THEIRS, scope="traffic") == 1
    assert value(found, "clinical_verdict_revoked", cancer=CANCER, digest=THEIRS) == 0
    assert (
        value(found, "clinical_verdict_expiry_timestamp_seconds", cancer=CANCER, digest=THEIRS)
        == 1_700_000_000 + 90 * DAY
    )
    records.revoke(CHALLENGER, "leaked", "dr-x", 1_700_000_100.0)
    assert value(samples(reader), "clinical_verdict_revoked", cancer=CANCER, digest=THEIRS) == 1


def test_a_write_that_was_interrupted_is_shown_until_it_is_finished(world: World) -> None:
    world.open()
    world.router.fault = RoutingUnavailable("the data plane does not answer")
    world.router.after_write = True
    world.tick()
    reader = collector(world)
    begun = world.wall.at
    assert value(samples(reader), "clinical_route_write_begun_timestamp_seconds", cancer=CANCER) == begun
    world.router.fault = None
    world.tick()
    assert "clinical_route_write_begun_timestamp_seconds" not in names(samples(reader))


def test_a_ledger_that_is_not_there_is_said_and_not_made(world: World, tmp_path: Path) -> None:
    """The demo moves an earlier ledger aside: the exporter must neither bring it back nor remember it."""
    world.open()
    reader = collector(world)
    assert "clinical_rollout_info" in names(samples(reader))
    world.engine.dispose()
    aside = tmp_path / "aside"
    aside.mkdir()
    for file in tmp_path.glob("ledger.db*"):
        shutil.move(file, aside)
    found = samples(reader)
    assert value(found, "clinical_exporter_source_readable", source="ledger") == 0
    assert value(found, "clinical_exporter_source_readable", source="state_directory") == 1
    assert "clinical_rollout_info" not in names(found)
    assert not list(tmp_path.glob("ledger.db*"))
    World(tmp_path).engine.dispose()
    found = samples(reader)
    assert value(found, "clinical_exporter_source_readable", source="ledger") == 1
    assert "clinical_rollout_info" not in names(found)


def test_what_is_down_is_named_and_hides_nothing_else(world: World) -> None:
    world.open()
    sight = Sight(world)
    sight.down = True
    found = samples(collector(world, sight))
    assert value(found, "clinical_exporter_source_readable", source="gateway") == 0
    assert "clinical_served_weight_ratio" not in names(found)
    assert "clinical_rollout_info" in names(found)
    assert value(found, "clinical_sensor_failing", sensor="drift") == 1


def test_names_have_units_and_help_and_no_label_tells_a_patient(world: World) -> None:
    world.open()
    world.until("shadow")
    world.treat(30)
    world.tick()
    judge(world, CHALLENGER)
    registry = CollectorRegistry()
    registry.register(collector(world))
    text = generate_latest(registry).decode()
    for name, said in re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE):
        assert name.startswith("clinical_")
        assert len(said) > 5
    units = re.compile(r"clinical_\w*(seconds|ratio|total|info|value|limit|difference|patients)$|" + PLAIN)
    assert [name for name in set(re.findall(r"^(clinical_\w+)", text, re.MULTILINE)) if not units.match(name)] == []
    told = {match for line in text.splitlines() for match in re.findall(r'(\w+)="', line)}
    assert told <= {
        *("cancer", "rollout", "stage", "champion", "challenger", "arm", "digest", "test", "kind", "bound", "gate"),
        *("verdict", "scope", "role", "rule", "action", "source", "sensor", "status", "process", "what"),
    }
    stored = world.engine.connect().exec_driver_sql("SELECT patient, request_id FROM predictions").all()
    said = set(re.findall(r'"([^"]*)"', text))
    assert stored
    assert not said & {value for row in stored for value in row}


PLAIN = (
    "clinical_(served_mirror|route_foreign|sensor_failing|runs_failed_last_day|runs_unfinished|backfills_unfinished|"
    "exporter_source_readable|gate_verdict|verdict_scope|verdict_revoked|model_role|process_healthy)$"
)
"""Flags and counts, which have no unit."""


@pytest.mark.xdist_group("postgresql")
def test_the_window_reads_either_database_and_writes_neither(tmp_path: Path, database_url: str) -> None:
    world = World(tmp_path, database_url)
    world.open()
    window = LedgerWindow(database_url)
    reader = RolloutReader()
    with window.transaction() as connection:
        reader.read(connection)
    assert [standing.id for standing in reader.open] == ["colon-0001"]
    with pytest.raises(LedgerAbsent), window.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM leases")
    world.engine.dispose()
