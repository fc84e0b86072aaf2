"""What the code location offers: a refactoring that changes it shows up as a difference."""

from __future__ import annotations

import warnings

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from clinical_assets.catalog import load_catalog


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from clinical_assets.definitions import build_defs

        return build_defs()


def test_assets_checks_jobs_sensors_and_schedules(defs: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    graph = defs.resolve_asset_graph()
    assets = {
        key.to_user_string(): {
            "after": sorted(parent.to_user_string() for parent in graph.get(key).parent_keys),
            "group": graph.get(key).group_name,
            "kinds": sorted(graph.get(key).kinds),
            "owners": sorted(graph.get(key).owners),
            "checks": sorted(check.name for check in graph.get_check_keys_for_assets({key})),
        }
        for key in graph.get_all_asset_keys()
    }
    repository = defs.get_repository_def()
    offered = {
        "assets": assets,
        "sensors": {sensor.name: sensor.default_status.value for sensor in repository.sensor_defs},
        "schedules": {schedule.name: str(schedule.cron_schedule) for schedule in repository.schedule_defs},
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
    }
    assert offered == snapshot


def test_every_cancer_type_of_the_catalogue_is_a_partition(defs: dg.Definitions) -> None:
    job = defs.resolve_job_def("trial_to_route")
    assert job.partitions_def is not None
    assert sorted(job.partitions_def.get_partition_keys()) == sorted(load_catalog())
