"""The schema as it was when versioning began. A database made before then has these tables and is adopted as it is."""

from sqlalchemy import Column, Float, Integer, String, Text, UniqueConstraint

from clinical_assets.foundation.migrations.steps import body, chained_table, index, table

revision = "0001"
down_revision = None


def upgrade() -> None:
    table(
        "chain_heads",
        Column("chain", String(64), primary_key=True),
        Column("length", Integer, nullable=False),
        Column("last_seq", Integer, nullable=False),
        Column("head", String(64), nullable=False),
        Column("sealed_length", Integer, nullable=False),
        Column("sealed_head", String(64), nullable=False),
        Column("sealed_utc", String(32), nullable=False),
        Column("key_id", String(32), nullable=False),
        Column("signature", String(128), nullable=False),
    )
    _audit()
    _requests()
    _rollouts()
    _evidence()
    _routes()


def _audit() -> None:
    chained_table(
        "audit_log",
        Column("at_utc", String(32), nullable=False),
        Column("actor", String(128), nullable=False),
        Column("action", String(64), nullable=False),
        Column("subject", String(160), nullable=False),
        *body(),
    )
    index("ix_audit_log_subject", "audit_log", "subject")
    chained_table(
        "records",
        Column("kind", String(16), nullable=False),
        Column("cancer", String(64), nullable=False),
        Column("model_digest", String(64), nullable=False),
        Column("key_id", String(32), nullable=False),
        Column("signature", String(128), nullable=False),
        Column("recorded_utc", String(32), nullable=False),
        *body(),
    )
    index("ix_records_model_digest", "records", "model_digest")
    chained_table(
        "statements",
        Column("kind", String(16), nullable=False),
        Column("cancer", String(64), nullable=False),
        Column("model_digest", String(64), nullable=False),
        Column("signer", String(64), nullable=False),
        Column("key_id", String(32), nullable=False),
        Column("signature", String(128), nullable=False),
        Column("recorded_utc", String(32), nullable=False),
        *body(),
    )
    index("ix_statements_model_digest", "statements", "model_digest")


def _requests() -> None:
    chained_table(
        "predictions",
        Column("request_id", String(128), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("cancer", String(64), nullable=False),
        Column("rollout_id", String(96)),
        Column("patient", String(128), nullable=False),
        Column("arm", String(16), nullable=False),
        Column("propensity", Float, nullable=False),
        Column("risk", Float),
        Column("status", String(16), nullable=False),
        Column("predicted_at", Float, nullable=False),
        Column("recorded_at", Float, nullable=False),
        UniqueConstraint("request_id", "digest"),
    )
    index("predictions_of_rollout", "predictions", "rollout_id", "seq")
    index("predictions_by_time", "predictions", "rollout_id", "predicted_at")
    index("predictions_by_patient", "predictions", "rollout_id", "patient", "seq")
    chained_table(
        "memberships",
        Column("request_id", String(128), nullable=False),
        Column("cancer", String(64), nullable=False),
        Column("groups", String(512), nullable=False),
        UniqueConstraint("request_id", "cancer"),
    )
    chained_table(
        "outcomes",
        Column("request_id", String(128), nullable=False),
        Column("cancer", String(64), nullable=False),
        Column("time", Float),
        Column("event", Integer),
        Column("label", Integer),
        Column("observed_at", Float, nullable=False),
        Column("recorded_at", Float, nullable=False),
        UniqueConstraint("request_id", "cancer"),
    )


def _rollouts() -> None:
    chained_table(
        "rollouts",
        Column("id", String(96), nullable=False, unique=True),
        Column("cancer", String(64), nullable=False),
        Column("champion", String(64), nullable=False),
        Column("challenger", String(64), nullable=False),
        Column("policy_digest", String(64), nullable=False),
        Column("author", String(64), nullable=False),
        Column("opened_at", Float, nullable=False),
        Column("recorded_at", Float, nullable=False),
        *body(),
    )
    index("ix_rollouts_cancer", "rollouts", "cancer")
    chained_table(
        "transitions",
        Column("rollout_id", String(96), nullable=False),
        Column("cancer", String(64), nullable=False),
        Column("action", String(16), nullable=False),
        Column("stage", String(16), nullable=False),
        Column("weight", Integer, nullable=False),
        Column("is_open", Integer, nullable=False),
        Column("actor", String(64), nullable=False),
        Column("rule", String(64), nullable=False),
        Column("at", Float, nullable=False),
        Column("recorded_at", Float, nullable=False),
        Column("fencing_token", Integer, nullable=False),
        *body(),
    )
    index("ix_transitions_rollout_id", "transitions", "rollout_id")
    chained_table(
        "intents",
        Column("intent_id", String(64), nullable=False),
        Column("rollout_id", String(96), nullable=False),
        Column("cancer", String(64), nullable=False),
        Column("step", String(16), nullable=False),
        Column("at", Float, nullable=False),
        Column("recorded_at", Float, nullable=False),
        Column("fencing_token", Integer, nullable=False),
        *body(),
    )
    index("ix_intents_intent_id", "intents", "intent_id")
    index("ix_intents_cancer", "intents", "cancer")
    table(
        "leases",
        Column("name", String(128), primary_key=True),
        Column("holder", String(128), nullable=False),
        Column("token", Integer, nullable=False),
        Column("expires", Float, nullable=False),
    )


def _evidence() -> None:
    chained_table(
        "evidence_steps",
        Column("rollout_id", String(96), nullable=False),
        Column("at", Float, nullable=False),
        Column("state_sha256", String(64), nullable=False),
        *body(),
    )
    index("ix_evidence_steps_rollout_id", "evidence_steps", "rollout_id")
    table(
        "evidence_states",
        Column("rollout_id", String(96), primary_key=True),
        Column("step", Integer, nullable=False),
        Column("state", Text, nullable=False),
    )


def _routes() -> None:
    table(
        "counter_series",
        Column("cancer", String(64), primary_key=True),
        Column("series", String(512), primary_key=True),
        Column("digest", String(64), nullable=False),
        Column("kind", String(32), nullable=False),
        Column("past", Float, nullable=False),
        Column("last", Float, nullable=False),
    )
    table(
        "route_snapshots",
        Column("path", String(256), primary_key=True),
        Column("version", Integer, nullable=False),
        Column("taken_at", Float, nullable=False),
        Column("document", Text, nullable=False),
    )
