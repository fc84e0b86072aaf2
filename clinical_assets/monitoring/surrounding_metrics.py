"""What surrounds the ledger, as metrics: the gateway's routes, Dagster, data, disk, processes, alerts."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from clinical_assets.foundation.home import Home
from clinical_assets.monitoring.ledger_metrics import SHORT
from clinical_assets.monitoring.served import Served
from clinical_assets.monitoring.surroundings import DagsterSeen, alerts_given, free_ratio, processes


def gateway(served: Served) -> list[Metric]:
    weights = GaugeMetricFamily(
        "clinical_served_weight_ratio",
        "Share of the patients that the gateway gives the model",
        labels=["cancer", "arm", "digest"],
    )
    mirrored = GaugeMetricFamily("clinical_served_mirror", "1 if requests are copied", labels=["cancer"])
    foreign = GaugeMetricFamily(
        "clinical_route_foreign", "1 if the gateway serves a route that is not ours or not one", labels=["cancer"]
    )
    for cancer, route in sorted(served.items()):
        foreign.add_metric([cancer], float(route is None))
        if route is None:
            continue
        for digest, weight in route.weights.items():
            arm = "champion" if digest == route.champion else "challenger"
            weights.add_metric([cancer, arm, digest[:SHORT]], weight / 100)
        mirrored.add_metric([cancer], float(route.mirror))
    return [weights, mirrored, foreign]


def scheduling(seen: DagsterSeen) -> list[Metric]:
    ticks = GaugeMetricFamily(
        "clinical_sensor_tick_timestamp_seconds", "Latest tick of each sensor that is on", labels=["sensor"]
    )
    failing = GaugeMetricFamily("clinical_sensor_failing", "1 if its latest tick failed", labels=["sensor"])
    for sensor, (at, failed_last) in sorted(seen.ticked.items()):
        ticks.add_metric([sensor], at)
        failing.add_metric([sensor], failed_last)
    failed = GaugeMetricFamily("clinical_runs_failed_last_day", "Failed runs of 24 hours", labels=["cancer"])
    for cancer, count in sorted(seen.failed_runs.items()):
        failed.add_metric([cancer], count)
    under_way = GaugeMetricFamily("clinical_runs_unfinished", "Runs queued and running", labels=["status"])
    for status, count in sorted(seen.unfinished_runs.items()):
        under_way.add_metric([status], count)
    backfills = GaugeMetricFamily("clinical_backfills_unfinished", "Backfills", len(seen.backfills_since))
    metrics: list[Metric] = [ticks, failing, failed, under_way, backfills]
    if seen.backfills_since:
        began = "clinical_backfill_oldest_timestamp_seconds"
        metrics.append(GaugeMetricFamily(began, "When the oldest one began", min(seen.backfills_since)))
    return metrics


def snapshots(taken_at: Mapping[str, float]) -> list[Metric]:
    taken = GaugeMetricFamily(
        "clinical_data_snapshot_timestamp_seconds", "When the data in use were taken", labels=["cancer"]
    )
    for cancer, at in sorted(taken_at.items()):
        taken.add_metric([cancer], at)
    return [taken]


def directory(home: Home) -> list[Metric]:
    free = GaugeMetricFamily(
        "clinical_disk_free_ratio", "Free share of the state directory's disk", free_ratio(home.root)
    )
    healthy = GaugeMetricFamily("clinical_process_healthy", "1 if the supervised process answers", labels=["process"])
    restarts = CounterMetricFamily(
        "clinical_process_restarts", "Restarts since the supervisor started", labels=["process"]
    )
    for name, record in sorted(processes(home).items()):
        healthy.add_metric([name], float(record.get("healthy", False)))
        restarts.add_metric([name], record.get("restarts", 0))
    alerts = CounterMetricFamily("clinical_alerts", "Alerts given to people", labels=["what", "cancer"])
    latest = GaugeMetricFamily(
        "clinical_alert_timestamp_seconds", "Latest alert of its kind", labels=["what", "cancer"]
    )
    for given in alerts_given(home):
        alerts.add_metric(list(given.labels), given.count)
        latest.add_metric(list(given.labels), given.latest)
    return [free, healthy, restarts, alerts, latest]
