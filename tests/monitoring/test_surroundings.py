"""What the exporter sees beside the ledger: Dagster's own storage, snapshots, routes divided by cancer type."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import pytest
from dagster import job, op

from clinical_assets.foundation.home import Home
from clinical_assets.monitoring.served import divided
from clinical_assets.monitoring.surroundings import Snapshots, alerts_given, dagster_seen, free_ratio
from tests.monitoring.snapshots import extracted
from tests.monitoring.ticks import record_tick


@op
def failing() -> None:
    raise RuntimeError("no such file")


@job
def ingest() -> None:
    failing()


def test_ticks_failures_and_backfills_are_read_from_dagster(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        record_tick(instance, "rollout", 1_700_000_000.0)
        record_tick(instance, "drift", 1_700_000_005.0, failed=True)
        for cancer in ("colon", "colon", "breast"):
            ingest.execute_in_process(instance=instance, raise_on_error=False, tags={"dagster/partition": cancer})
        seen = dagster_seen(instance, time.time())
        assert seen.ticked == {"rollout": (1_700_000_000.0, False), "drift": (1_700_000_005.0, True)}
        assert seen.failed_runs == {"colon": 2, "breast": 1}
        assert seen.unfinished_runs == {"queued": 0, "running": 0}
        assert seen.backfills_since == []
        assert dagster_seen(instance, time.time() + 2 * 86_400).failed_runs == {}


def test_a_snapshot_is_as_old_as_its_extraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLINICAL_HOME", str(tmp_path))
    Home(tmp_path).prepare()
    extracted("colon", "2026-01-02T00:00:00+00:00")
    assert Snapshots().read() == {"colon": 1767312000.0}


def test_routes_are_divided_by_their_cancer_type_and_nobody_elses_are_taken() -> None:
    names = ["clinical/colon/split", "clinical/colon/other", "status", "clinical/lung/split", "clinic/x/split"]
    found = divided({"virtual_hosts": [{"routes": [{"name": name} for name in names[:3]]},
                                       {"routes": [{"name": name} for name in names[3:]]}]})  # fmt: skip
    assert {cancer: len(part["virtual_hosts"][0]["routes"]) for cancer, part in found.items()} == {
        "colon": 2,
        "lung": 1,
    }


def test_an_empty_state_directory_has_no_alerts_and_a_disk(tmp_path: Path) -> None:
    assert alerts_given(Home(tmp_path)) == []
    assert 0 < free_ratio(tmp_path) < 1
