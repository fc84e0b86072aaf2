"""What the ledger says, as metrics: rollouts, their evidence, labels, verdicts. Pure functions of what was read.

Labels are bounded: cancer types, models in play (first 12 digits of their digest), tests, gates. Ages are given as
moments (`..._timestamp_seconds`); whoever asks subtracts them from `time()`.
"""

from __future__ import annotations

import statistics

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from clinical_assets.monitoring.rollouts import RolloutReader, Standing
from clinical_assets.monitoring.verdicts import VerdictReader
from clinical_assets.rollout import stages
from clinical_assets.rollout.controller import Action

SHORT = 12
"""Digits of a digest in a label."""


def standings(open_: list[Standing]) -> list[Metric]:
    info = GaugeMetricFamily(
        "clinical_rollout_info",
        "1: an open rollout, its stage and its models",
        labels=["cancer", "rollout", "stage", "champion", "challenger"],
    )
    entered = GaugeMetricFamily(
        "clinical_rollout_stage_timestamp_seconds", "Clinical time at which its stage began", labels=["cancer"]
    )
    opened = GaugeMetricFamily("clinical_rollout_opened_timestamp_seconds", "When it was opened", labels=["cancer"])
    weights = GaugeMetricFamily(
        "clinical_intended_weight_ratio", "Share that the ledger intends", labels=["cancer", "arm", "digest"]
    )
    held = GaugeMetricFamily(
        "clinical_rollout_hold_timestamp_seconds", "Since when it is held, and by which rule", labels=["cancer", "rule"]
    )
    for one in open_:
        digests = one.champion[:SHORT], one.challenger[:SHORT]
        info.add_metric([one.cancer, one.id, one.stage, *digests], 1)
        entered.add_metric([one.cancer], one.entered_at)
        opened.add_metric([one.cancer], one.opened_wall)
        weights.add_metric([one.cancer, "challenger", digests[1]], one.weight / 100)
        if one.champion:
            weights.add_metric([one.cancer, "champion", digests[0]], 1 - one.weight / 100)
        if one.action == Action.HOLD:
            held.add_metric([one.cancer, one.rule], one.last_wall)
    return [info, entered, opened, weights, held]


def evidence(open_: list[Standing]) -> list[Metric]:
    tests = ["cancer", "challenger", "test"]
    log_e = GaugeMetricFamily("clinical_rollout_log_e_value", "log E of a test against its null", labels=tests)
    limit = GaugeMetricFamily("clinical_rollout_log_e_limit", "log E at which the test rejects", labels=tests)
    patients = GaugeMetricFamily(
        "clinical_rollout_patients", "Patients with outcome in the evidence", labels=["cancer", "kind"]
    )
    difference = GaugeMetricFamily(
        "clinical_rollout_brier_difference",
        "Prediction error (Brier) of the challenger less the champion's, with its 95 % confidence sequence",
        labels=["cancer", "kind", "bound"],
    )
    step = GaugeMetricFamily(
        "clinical_rollout_evidence_timestamp_seconds",
        "When evidence last moved or telemetry answered",
        labels=["cancer"],
    )
    for one in open_:
        shown = one.evidence
        if shown is None:
            continue
        challenger = one.challenger[:SHORT]
        for name, threshold in one.limits.items():
            if name in shown.log_e:
                log_e.add_metric([one.cancer, challenger, name], shown.log_e[name])
                limit.add_metric([one.cancer, challenger, name], threshold)
        patients.add_metric([one.cancer, "paired"], shown.pairs)
        patients.add_metric([one.cancer, "split"], shown.split)
        for kind, values in shown.differences.items():
            for bound, value in zip(("mean", "lower", "upper"), values, strict=True):
                if value is not None:
                    difference.add_metric([one.cancer, kind, bound], value)
        step.add_metric([one.cancer], shown.wall)
    return [log_e, limit, patients, difference, step]


def history(rollouts: RolloutReader) -> list[Metric]:
    decisions = CounterMetricFamily(
        "clinical_rollout_decisions", "Decisions on rollouts in the ledger", labels=["cancer", "action"]
    )
    for (cancer, action), count in sorted(rollouts.decisions.items()):
        decisions.add_metric([cancer, action], count)
    ended = CounterMetricFamily("clinical_rollouts_ended", "Rollouts that are over", labels=["cancer", "stage"])
    cancers = {standing.cancer for standing in rollouts.standings.values()}
    over = {(cancer, stage): 0 for cancer in cancers for stage in stages.CLOSED}
    for standing in rollouts.standings.values():
        if not standing.is_open:
            key = standing.cancer, standing.stage
            over[key] += 1
    for key, count in sorted(over.items()):
        ended.add_metric(list(key), count)
    delay = GaugeMetricFamily(
        "clinical_rollback_seconds",
        "Latest rollback: first bad sample to the confirmed share 0",
        labels=["cancer"],
    )
    for cancer, seconds in sorted(rollouts.rollback_seconds.items()):
        delay.add_metric([cancer], seconds)
    unfinished = GaugeMetricFamily(
        "clinical_route_write_begun_timestamp_seconds",
        "When a route write began that is neither done nor reverted",
        labels=["cancer"],
    )
    for cancer, since in sorted(rollouts.unfinished.values()):
        unfinished.add_metric([cancer], since)
    return [decisions, ended, delay, unfinished]


def label_arrival(rollouts: RolloutReader) -> list[Metric]:
    count = CounterMetricFamily(
        "clinical_labels_recorded", "Outcomes recorded since the exporter started", labels=["cancer"]
    )
    latest = GaugeMetricFamily(
        "clinical_label_timestamp_seconds", "When the latest outcome was recorded", labels=["cancer"]
    )
    lag = GaugeMetricFamily(
        "clinical_label_lag_seconds",
        "Median clinical time from prediction to observed outcome, of the latest outcomes recorded",
        labels=["cancer"],
    )
    for cancer, labels in sorted(rollouts.labels.items()):
        count.add_metric([cancer], labels.count)
        latest.add_metric([cancer], labels.latest_wall)
        if labels.delays:
            lag.add_metric([cancer], statistics.median(labels.delays))
    return [count, latest, lag]


def verdicts(reader: VerdictReader, roles: set[tuple[str, str, str]]) -> list[Metric]:
    gates = GaugeMetricFamily(
        "clinical_gate_verdict", "1: what the gate said of the model", labels=["cancer", "digest", "gate", "verdict"]
    )
    scope = GaugeMetricFamily(
        "clinical_verdict_scope", "1: what the verdict granted when issued", labels=["cancer", "digest", "scope"]
    )
    names = ["cancer", "digest"]
    issued = GaugeMetricFamily("clinical_verdict_issued_timestamp_seconds", "When it was issued", labels=names)
    expiry = GaugeMetricFamily("clinical_verdict_expiry_timestamp_seconds", "When it ends", labels=names)
    revoked = GaugeMetricFamily(
        "clinical_verdict_revoked", "1 if the model, its record or the signing key was withdrawn", labels=names
    )
    for verdict in reader.known(digest for _, digest, _ in roles):
        key = [verdict.cancer, verdict.digest[:SHORT]]
        for gate, said in verdict.gates.items():
            gates.add_metric([*key, gate, said], 1)
        scope.add_metric([*key, verdict.scope], 1)
        issued.add_metric(key, verdict.issued)
        expiry.add_metric(key, verdict.expires)
        revoked.add_metric(key, reader.revoked(verdict))
    role = GaugeMetricFamily(
        "clinical_model_role", "1: the model answers patients or may", labels=["cancer", "digest", "role"]
    )
    for cancer, digest, name in sorted(roles):
        role.add_metric([cancer, digest[:SHORT], name], 1)
    return [gates, scope, issued, expiry, revoked, role]
