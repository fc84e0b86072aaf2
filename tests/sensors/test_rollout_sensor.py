"""One evaluation of the rollout sensor: what it does, in which order, what it shows and whom it tells."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clinical_assets.audit.keys import KeyStore
from clinical_assets.audit.records import RecordStore
from clinical_assets.gates.verdict import CheckResult, GateName, GateReport, Tier, Verdict
from clinical_assets.rollout.authority import EvidenceAuthority
from clinical_assets.rollout.routing import RoutingUnavailable
from clinical_assets.rollout.tick import TickResult, TickStatus
from sensors.rollout import RolloutCursor, Round, event, tick_all
from tests.rollout.conftest import CANCER, CHALLENGER, CHAMPION, World


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


class Placed:
    """A serving back end that has every model already."""

    def placed(self, cancer: str) -> list[str]:
        return []

    def place(self, cancer: str, digest: str, keep: str | None = None) -> object:
        return None

    def retire(self, cancer: str, digest: str) -> None:
        pass

    def finish_retiring(self) -> None:
        pass


def resources(world: World, back_end: type = Placed) -> tuple[Any, ...]:
    return (
        SimpleNamespace(ledger=lambda: world.ledger),
        SimpleNamespace(router=lambda: world.router, authority=lambda: world.authority),
        SimpleNamespace(source=lambda: world.telemetry),
        SimpleNamespace(desired_state=back_end),
    )


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path / "state"))
    (tmp_path / "state").mkdir()
    world = World(tmp_path)
    monkeypatch.setattr("sensors.rollout.read_clock", lambda _: world.clock)
    yield world
    world.engine.dispose()


def evaluated(world: World, round_: Round | None = None) -> list[Any]:
    return list(tick_all(*resources(world), round_ or Round()))


def test_a_rollback_is_written_although_the_serving_back_end_is_down(ours: World) -> None:
    ours.open()
    ours.until("shadow")
    ours.treat(10, invalid=1)
    events = list(tick_all(*resources(ours, Unreachable)))
    assert [event.metadata["stage"].value for event in events] == ["rolled_back"]
    assert ours.share() == 0


def judged(records: RecordStore, world: World, digest: str, verdict: Verdict = Verdict.PASS) -> None:
    """A signed decision record on exactly this model."""
    check = CheckResult(id="X1", title="x", verdict=verdict, metric="x")
    reports = [
        GateReport(gate=gate, verdict=verdict, checks=(check,), required=("X1",), started="", finished="",
                   cancer=CANCER, model_digest=digest, policy_digest="p" * 64)
        for gate in GateName
    ]  # fmt: skip
    records.issue(
        cancer=CANCER, model_digest=digest, data_digests={}, policy_digest="p" * 64, lineage={}, reports=reports,
        tier=Tier.CLINICAL, actor="gate_verdict", now=world.wall.at,
    )  # fmt: skip


def _expiry(records: RecordStore) -> float:
    signed = records.find(CHALLENGER)
    assert signed is not None
    return datetime.fromisoformat(signed.record.expires_utc).timestamp()


@pytest.mark.parametrize("problem", ["revoked", "expired", "blocked later"])
def test_a_signed_verdict_that_fell_takes_the_weight_to_0_within_one_evaluation(
    ours: World, problem: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    records = RecordStore(ours.engine, KeyStore(tmp_path / "keys"))
    for digest in (CHAMPION, CHALLENGER):
        judged(records, ours, digest)
    authority: Any = EvidenceAuthority(records, ours.ledger, "test")
    ours.authority = ours.router.authority = authority
    ours.to_ramp()
    assert evaluated(ours) == []
    assert ours.share() == 5
    if problem == "revoked":
        records.revoke(CHALLENGER, "mislabelled training data", "dr_curie", ours.wall.at)
    elif problem == "expired":
        ours.wall.at = _expiry(records)
    else:
        judged(records, ours, CHALLENGER, Verdict.BLOCK)
    [event] = evaluated(ours)
    assert ours.share() == 0, "no verdict is needed on the way back"
    assert (event.metadata["rule"].value, event.metadata["stage"].value) == ("verdict", "rolled_back")
    assert {"revoked": "revoked", "expired": "is valid from", "blocked later": "BLOCK"}[problem] in str(
        event.metadata["reason"].value
    )
    assert "a rollout was rolled back" in caplog.text


def test_every_change_shows_evidence_and_interval_over_the_patients(ours: World) -> None:
    ours.to_ramp()
    ours.treat(50)
    ours.roll_back()
    shown = event(ours.ledger, ours.rows()[-1]).metadata
    for name in ("traffic", "evidence_paired", "difference_paired", "evidence_split", "difference_split"):
        assert "data:image/png;base64" in str(shown[name].value), name


def test_no_rollout_starves_when_one_evaluation_has_time_for_one(ours: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for cancer in ("breast", "colon", "lung"):
        ours.open(cancer=cancer)
    ticked: list[str] = []
    monkeypatch.setattr(Round, "over", property(lambda self: len(ticked) > self.begun))
    monkeypatch.setattr(
        "clinical_assets.rollout.tick.tick",
        lambda rollout_id, *_, **__: ticked.append(rollout_id) or TickResult(TickStatus.BUSY, "shadow"),
    )
    cursor = RolloutCursor()
    for _ in range(6):
        round_ = Round(RolloutCursor.model_validate_json(cursor.model_dump_json()))
        round_.begun = len(ticked)
        evaluated(ours, round_)
        cursor = round_.cursor
    assert ticked == ["breast-0001", "colon-0001", "lung-0001"] * 2


def test_a_long_hold_is_told_once(ours: World, caplog: pytest.LogCaptureFixture) -> None:
    ours.open()
    ours.until("shadow")
    ours.telemetry.missing = "the exporter is down"
    cursor = RolloutCursor()
    for seconds in (5, 60, 200, 200):
        ours.wall.at += seconds
        round_ = Round(cursor)
        evaluated(ours, round_)
        cursor = RolloutCursor.model_validate_json(round_.cursor.model_dump_json())
    assert caplog.text.count("a rollout has been held") == 1
