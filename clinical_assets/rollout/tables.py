"""The ledger's tables; one schema for SQLite and PostgreSQL. All are append-only and hash-chained, except leases.
A change here needs a revision in `foundation.migrations`.

Predictions and outcomes draw `seq` from one counter, so that "what has happened since seq" has one answer for both.
`patient` is a keyed pseudonym. Times are seconds since the epoch, on the clinical clock; `recorded_at` is wall time.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, Integer, String, Table, UniqueConstraint

from clinical_assets.audit.chain import body_columns, chained_table
from clinical_assets.foundation.database import metadata

predictions = chained_table(
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
    Index("predictions_of_rollout", "rollout_id", "seq"),
    Index("predictions_by_time", "rollout_id", "predicted_at"),
    Index("predictions_by_patient", "rollout_id", "patient", "seq"),
)

memberships = chained_table(
    "memberships",
    Column("request_id", String(128), nullable=False),
    Column("cancer", String(64), nullable=False),
    Column("groups", String(512), nullable=False),
    UniqueConstraint("request_id", "cancer"),
)

outcomes = chained_table(
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

rollouts = chained_table(
    "rollouts",
    Column("id", String(96), nullable=False, unique=True),
    Column("cancer", String(64), nullable=False, index=True),
    Column("champion", String(64), nullable=False),
    Column("challenger", String(64), nullable=False),
    Column("policy_digest", String(64), nullable=False),
    Column("author", String(64), nullable=False),
    Column("opened_at", Float, nullable=False),
    Column("recorded_at", Float, nullable=False),
    *body_columns(),  # the policy
)

transitions = chained_table(
    "transitions",
    Column("rollout_id", String(96), nullable=False, index=True),
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
    *body_columns(),  # the rest of the decision
)

intents = chained_table(
    "intents",
    Column("intent_id", String(64), nullable=False, index=True),
    Column("rollout_id", String(96), nullable=False),
    Column("cancer", String(64), nullable=False, index=True),
    Column("step", String(16), nullable=False),
    Column("at", Float, nullable=False),
    Column("recorded_at", Float, nullable=False),
    Column("fencing_token", Integer, nullable=False),
    *body_columns(),  # the route to be written, or what was observed
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("holder", String(128), nullable=False),
    Column("token", Integer, nullable=False),
    Column("expires", Float, nullable=False),
)
