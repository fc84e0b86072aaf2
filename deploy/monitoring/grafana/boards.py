"""The three dashboards: what a rollout does, what patients get, and what it all rests on."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.monitoring.grafana.panels import board, course, listing, now, spread

OF = 'cancer=~"$cancer"'


def rollouts() -> Dashboard:
    evidence = "cancer_challenger_test:clinical_rollout_evidence:ratio"
    harm = f'{evidence}{{{OF}, test!="non_inferiority"}}'
    decided = [
        now("Open rollouts", "Challengers under way.", "none", (f"count(clinical_rollout_info{{{OF}}})", "")),
        now(
            "Nearest to a rollback", "Largest evidence of harm on its way to the limit; at 100 % it is rolled back.",
            "percentunit", (f"max({harm})", ""), bad_from=0.5,
        ),
        now(
            "Rolled back", "Rollouts that ended with the former model.", "none",
            (f'sum(clinical_rollouts_ended_total{{{OF}, stage="rolled_back"}})', ""),
        ),
        now(
            "First bad sample to share 0", "Latest rollback of each cancer type.", "s",
            (f"clinical_rollback_seconds{{{OF}}}", "{{cancer}}"), bad_from=7,
        ),
        listing("Stage and models", "Open rollouts now.", (f"clinical_rollout_info{{{OF}}}", "")),
        listing("Held", "Rule, and since when.", (f"clinical_rollout_hold_timestamp_seconds{{{OF}}}", "")),
    ]  # fmt: skip
    shown = [
        course(
            "Evidence of harm", "log E over its limit, by test: 1 rolls back. Evidence below nothing is shown as 0.",
            "percentunit", (harm, "{{cancer}} {{test}}"),
        ),
        course(
            "Evidence of no harm", "The test that promotes: 1 proves non-inferiority.", "percentunit",
            (f'{evidence}{{{OF}, test="non_inferiority"}}', "{{cancer}} {{challenger}}"),
        ),
        course(
            "Prediction error, challenger less champion", "Brier score with its 95 % confidence sequence.", "none",
            (f"clinical_rollout_brier_difference{{{OF}}}", "{{cancer}} {{kind}} {{bound}}"),
        ),
        course(
            "Patients with outcome", "Paired: scored by both models. Split: randomised.", "none",
            (f"clinical_rollout_patients{{{OF}}}", "{{cancer}} {{kind}}"),
        ),
        course(
            "Age of the evidence", "Since it last moved, or telemetry last answered.", "s",
            (f"time() - clinical_rollout_evidence_timestamp_seconds{{{OF}}}", "{{cancer}}"),
        ),
        course(
            "Decisions", "By action, per minute.", "none",
            (
                f"60 * sum by (cancer, action) (rate(clinical_rollout_decisions_total{{{OF}}}[5m]))",
                "{{cancer}} {{action}}",
            ),
        ),
    ]  # fmt: skip
    shares = [
        course(
            "Challenger's share", "Intended by the ledger, served by the gateway, seen in the answers.", "percentunit",
            (f'clinical_intended_weight_ratio{{{OF}, arm="challenger"}}', "{{cancer}} intended"),
            (f'clinical_served_weight_ratio{{{OF}, arm="challenger"}}', "{{cancer}} served"),
            (f'cancer_arm:clinical_inference_share:ratio_rate5m{{{OF}, arm="challenger"}}', "{{cancer}} answered"),
        ),
        course(
            "Intended less served", "Anything but 0 for longer than a write takes is wrong.", "percentunit",
            (
                f"clinical_intended_weight_ratio{{{OF}}} - on (cancer, arm, digest) clinical_served_weight_ratio",
                "{{cancer}} {{arm}}",
            ),
        ),
    ]  # fmt: skip
    said = "Where each challenger stands, on which evidence, and whether traffic is as the ledger says."
    return board("clinical-rollouts", "Clinical: rollouts", said, [
        ("Now", decided), ("Evidence", shown), ("Traffic", shares),
    ])  # fmt: skip


def serving() -> Dashboard:
    requests = f"cancer_arm_digest:clinical_inference_requests:rate5m{{{OF}}}"
    answers = [
        course("Answers", "Per second, by arm and model.", "reqps", (requests, "{{cancer}} {{arm}} {{digest}}")),
        course(
            "Answer time", "Complete request to durable answer.", "s",
            (f"cancer:clinical_inference_seconds:p50_5m{{{OF}}}", "{{cancer}} p50"),
            (f"cancer:clinical_inference_seconds:p99_5m{{{OF}}}", "{{cancer}} p99"),
        ),
        course(
            "Requests without a score", "What callers saw: 5xx over all.", "percentunit",
            ("clinical_gateway_answers_failed:ratio_rate5m", "failed"),
        ),
        course(
            "Failed attempts by model", "Those included that another server made good.", "percentunit",
            (f"cancer_digest_path:clinical_gateway_errors:ratio_rate5m{{{OF}}}", "{{cancer}} {{digest}} {{path}}"),
        ),
        course(
            "Answers by code", "Model servers, per second.", "reqps",
            ("sum by (code) (rate(clinical_inference_requests_total[5m]))", "{{code}}"),
        ),
        course(
            "Retries", "By the gateway, per second.", "reqps",
            (f"sum by (cancer, digest) (rate(envoy_cluster_upstream_rq_retry{{{OF}}}[5m]))", "{{cancer}} {{digest}}"),
        ),
    ]  # fmt: skip
    scores = [
        spread(
            "Risks given out", "How many answers per second lie in each twentieth of the risk.",
            f'sum by (le) (rate(clinical_risk_score_bucket{{{OF}, arm!="shadow"}}[5m]))',
        ),
        course(
            "Median risk by arm", "Champion and challenger score the same patients in shadow.", "percentunit",
            (
                f"histogram_quantile(0.5, sum by (cancer, arm, le) (rate(clinical_risk_score_bucket{{{OF}}}[5m])))",
                "{{cancer}} {{arm}}",
            ),
        ),
    ]  # fmt: skip
    machinery = [
        listing("Models that servers should hold", "1: held; 0: refused.", (f"clinical_model_ready{{{OF}}}", "")),
        course(
            "Healthy servers behind each model", "As the gateway sees them.", "none",
            (f"envoy_cluster_membership_healthy{{{OF}}}", "{{cancer}} {{digest}} {{path}}"),
        ),
        course(
            "Restarts", "Of the supervised processes.", "none",
            ("clinical_process_restarts_total", "{{process}}"),
        ),
        course(
            "Predictions in one commit", "Mean size of a group in the prediction log.", "none",
            (
                "rate(clinical_prediction_log_group_size_sum[5m]) / rate(clinical_prediction_log_group_size_count[5m])",
                "{{instance}}",
            ),
        ),
    ]  # fmt: skip
    said = "What patients' requests get: how many, how fast, how often nothing, and which risks."
    return board("clinical-serving", "Clinical: serving", said, [
        ("Answers", answers), ("Scores", scores), ("Machinery", machinery),
    ])  # fmt: skip


def gates_and_data() -> Dashboard:
    verdicts = [
        listing("Verdicts", "What each gate said of each model.", (f"clinical_gate_verdict{{{OF}}}", ""), width=16),
        listing("Models in play", "Champions and challengers.", (f"clinical_model_role{{{OF}}}", ""), width=8),
        now(
            "Withdrawn and in play", "Models that answer patients, or may, on a withdrawn verdict.", "none",
            (f"sum(clinical_verdict_revoked{{{OF}}} and on (cancer, digest) clinical_model_role)", ""), bad_from=1,
        ),
        now(
            "Next verdict to end", "Of the models in play.", "s",
            (
                f"min((clinical_verdict_expiry_timestamp_seconds{{{OF}}} and on (cancer, digest) clinical_model_role)"
                " - time())",
                "",
            ),
        ),
        now(
            "What the gates said", "Models by gate and verdict.", "none",
            (f"count by (gate, verdict) (clinical_gate_verdict{{{OF}}})", "{{gate}} {{verdict}}"), width=12,
        ),
    ]  # fmt: skip
    data = [
        course(
            "Age of the data", "Since the snapshot in use was taken from its source.", "s",
            (f"time() - clinical_data_snapshot_timestamp_seconds{{{OF}}}", "{{cancer}}"),
        ),
        course(
            "Labels", "Outcomes recorded per minute.", "none",
            (f"60 * rate(clinical_labels_recorded_total{{{OF}}}[5m])", "{{cancer}}"),
        ),
        course(
            "Since the latest label", "An open rollout without labels cannot go on.", "s",
            (f"time() - clinical_label_timestamp_seconds{{{OF}}}", "{{cancer}}"),
        ),
        course(
            "Label lag", "Clinical time from prediction to observed outcome, median of the latest.", "s",
            (f"clinical_label_lag_seconds{{{OF}}}", "{{cancer}}"),
        ),
    ]  # fmt: skip
    platform = [
        course("Since a sensor ticked", "Of the sensors that are on.", "s",
               ("time() - clinical_sensor_tick_timestamp_seconds", "{{sensor}}")),
        now("Failed runs", "Of 24 hours.", "none", ("sum(clinical_runs_failed_last_day) or vector(0)", ""), bad_from=1),
        now("Backfills under way", "", "none", ("clinical_backfills_unfinished", "")),
        course("Free disk", "Of the state directory's disk.", "percentunit", ("clinical_disk_free_ratio", "free")),
        course("Alerts given", "By the sensors, to people.", "none", ("clinical_alerts_total", "{{what}} {{cancer}}")),
        course("What the exporter can read", "0: its metrics are missing.", "none",
               ("clinical_exporter_source_readable", "{{source}}")),
        course("Time to read", "One scrape of the exporter.", "s", ("clinical_exporter_scrape_seconds", "seconds")),
    ]  # fmt: skip
    said = "What the models rest on: verdicts and their end, age of data and labels, sensors, runs, disk."
    return board("clinical-gates-and-data", "Clinical: gates and data", said, [
        ("Verdicts", verdicts), ("Data and labels", data), ("Platform", platform),
    ])  # fmt: skip


BOARDS = {"rollouts": rollouts, "serving": serving, "gates-and-data": gates_and_data}
