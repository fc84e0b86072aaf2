"""Sensors and the schedule against a real instance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from clinical_assets.catalog import CancerType, configs_directory, load_catalog
from clinical_assets.definitions import default_resources
from clinical_assets.trials.errors import SourceError
from clinical_assets.trials.sources.state import source_state
from sensors.new_trial_data import build_new_trial_data_sensor
from sensors.schedules import build_retraining_schedules


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as own:
        yield own


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    from clinical_assets.definitions import build_defs

    return build_defs().get_repository_def()


def installed() -> set[str]:
    """Cancer types whose source can be seen on this machine."""

    def seen(cancer: CancerType) -> bool:
        try:
            return bool(source_state(cancer.source))
        except SourceError:
            return False

    return {slug for slug, cancer in load_catalog().items() if seen(cancer)}


def evaluate(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, cursor: str | None
) -> tuple[list[str], str | None]:
    sensor = build_new_trial_data_sensor("trial_to_route")
    found = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor, repository_def=repository))
    return [str(request.partition_key) for request in found.run_requests or []], found.cursor or cursor


def test_a_source_seen_for_the_first_time_is_no_change(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> None:
    asked, cursor = evaluate(instance, repository, None)
    assert asked == []
    assert json.loads(cursor or "{}").keys() == installed()
    assert evaluate(instance, repository, cursor) == ([], cursor)


def test_a_changed_source_retrains_its_own_cancer_type_once(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition
) -> None:
    _, cursor = evaluate(instance, repository, None)
    older = json.dumps({**json.loads(cursor or "{}"), "colon": "another package version"})
    asked, cursor = evaluate(instance, repository, older)
    assert asked == ["colon"]
    assert evaluate(instance, repository, cursor)[0] == []


def test_an_unreadable_source_does_not_stop_the_others(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cancers = tmp_path / "configs" / "cancers"
    cancers.mkdir(parents=True)
    for slug in ("colon", "breast"):
        text = (configs_directory() / "cancers" / f"{slug}.yaml").read_text()
        (cancers / f"{slug}.yaml").write_text(text)
    text = (cancers / "breast.yaml").read_text()
    start, end = text.index("  kind: package"), text.index("  data_status")
    (cancers / "breast.yaml").write_text(f"{text[:start]}  kind: csv\n  path: gone.csv\n{text[end:]}")
    monkeypatch.setenv("CLINICAL_CONFIGS", str(tmp_path / "configs"))
    _, cursor = evaluate(instance, repository, None)
    assert set(json.loads(cursor or "{}")) == {"colon"}


def scheduled(instance: dg.DagsterInstance, repository: dg.RepositoryDefinition) -> dg.ScheduleExecutionData:
    [schedule] = build_retraining_schedules("trial_to_route")
    monday = datetime(2026, 1, 5, 3, tzinfo=UTC)
    resources = {name: default_resources()[name] for name in ("object_store", "io_manager", "ledger_store")}
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=monday, repository_def=repository, resources=resources
    ) as context:
        return schedule.evaluate_tick(context)


def test_the_weekly_schedule_asks_for_every_stale_cancer_type_once(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path / "state"))
    found = scheduled(instance, repository).run_requests or []
    assert sorted(str(request.partition_key) for request in found) == sorted(installed())
    assert len({request.run_key for request in found}) == len(found)


def test_the_schedule_leaves_out_what_is_unchanged(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(
        "clinical_assets.freshness.stale_asset", lambda cancer, *_: "" if cancer.slug == "colon" else "features"
    )
    found = scheduled(instance, repository).run_requests or []
    assert "colon" not in {request.partition_key for request in found}
    assert len(found) == len(load_catalog()) - 1
