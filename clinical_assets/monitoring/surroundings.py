"""What surrounds the ledger: snapshots of trial data, Dagster's sensors and runs, processes, the disk, alerts given."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clinical_assets.foundation.home import Home

if TYPE_CHECKING:
    from pathlib import Path

RUNS = 500
"""Failed runs looked at in one look; more than these in a day are counted as these."""

DAY_S = 86_400.0

GIVEN = "alerts-given.json"
"""File below `metrics/` in the state directory that counts the alerts given to people."""


@dataclass(frozen=True)
class DagsterSeen:
    """Times are wall time. `ticked`: latest tick of each sensor that is on, and whether it failed."""

    ticked: dict[str, tuple[float, bool]] = field(default_factory=dict)
    failed_runs: Counter[str] = field(default_factory=Counter)
    unfinished_runs: Counter[str] = field(default_factory=Counter)
    backfills_since: list[float] = field(default_factory=list)


def dagster_seen(instance: Any, now: float) -> DagsterSeen:
    """Sensors that are switched on, runs of the last day that failed (by cancer type), unfinished runs and backfills.

    Args:
        instance: a `DagsterInstance`. now: wall time.
    """
    from datetime import UTC, datetime

    import dagster as dg
    from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
    from dagster._core.scheduler.instigation import InstigatorStatus, SensorInstigatorData

    on = {InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE}
    ticked = {}
    for state in instance.all_instigator_state(instigator_statuses=on):
        data = state.instigator_data
        if isinstance(data, SensorInstigatorData):
            ticked[state.name] = data.last_tick_timestamp or 0.0, data.last_tick_success_timestamp is None
    since = datetime.fromtimestamp(now - DAY_S, UTC)
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    under_way = {
        "queued": [dg.DagsterRunStatus.QUEUED],
        "running": [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED],
    }
    running = BulkActionsFilter(statuses=[BulkActionStatus.REQUESTED])
    return DagsterSeen(
        ticked,
        Counter(run.tags.get("dagster/partition", "") for run in instance.get_runs(failed, limit=RUNS)),
        Counter({name: instance.get_runs_count(dg.RunsFilter(statuses=s)) for name, s in under_way.items()}),
        [backfill.backfill_timestamp for backfill in instance.get_backfills(filters=running)],
    )


class Snapshots:
    """When the snapshot that each cancer type stands on was taken from its source (wall time)."""

    LOOK_S = 60.0

    def __init__(self) -> None:
        self._looked = -self.LOOK_S
        self._taken: dict[str, tuple[str, float]] = {}

    def read(self) -> dict[str, float]:
        """Looks at the store once a minute at most; a snapshot's manifest is read once."""
        if time.monotonic() - self._looked >= self.LOOK_S:
            self._look()
            self._looked = time.monotonic()
        return {cancer: taken for cancer, (_, taken) in self._taken.items()}

    def _look(self) -> None:
        from clinical_assets.catalog import load_catalog
        from clinical_assets.foundation.objects.errors import ObjectStoreError
        from clinical_assets.gates.facts import utc_seconds
        from clinical_assets.references import SnapshotReference
        from resources.object_store import ObjectStore, ReferenceIOManager

        store, handed_on = ObjectStore(patience_s=0.0), ReferenceIOManager(patience_s=0.0)
        with suppress(ObjectStoreError):  # what was read before stands
            for cancer in load_catalog():
                found = handed_on.find("raw_trial_data", cancer, SnapshotReference)
                if found is None or self._taken.get(cancer, ("", 0.0))[0] == found.digest:
                    continue
                manifest = json.loads((store.fetch("snapshots", cancer, found.digest) / "manifest.json").read_text())
                self._taken[cancer] = found.digest, utc_seconds(manifest["extracted_utc"])


@dataclass(frozen=True)
class AlertCount:
    """`labels` are `what` and `cancer`; `latest` is wall time."""

    labels: tuple[str, str]
    count: float
    latest: float


def alerts_given(home: Home) -> list[AlertCount]:
    """What `sensors.alerts` counted on this machine."""
    try:
        counts = json.loads((home.root / "metrics" / GIVEN).read_text())
    except FileNotFoundError:
        return []
    return [AlertCount((one["what"], one["cancer"]), one["count"], one["latest"]) for one in counts]


def processes(home: Home) -> dict[str, dict[str, Any]]:
    """The supervisor's own record of Envoy and the model servers; empty where none runs."""
    try:
        records = json.loads((home.dataplane / "processes.json").read_text())
    except FileNotFoundError:
        return {}
    return {name: record or {} for name, record in records.items()}


def free_ratio(path: Path) -> float:
    """Share of the file system that an unprivileged writer may still use, 0..1.

    Raises:
        OSError: the directory is gone.
    """
    found = os.statvfs(path)
    return found.f_bavail / found.f_blocks if found.f_blocks else 0.0
