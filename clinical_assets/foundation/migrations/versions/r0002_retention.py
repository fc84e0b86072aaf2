"""Rows removed by retention are signed for, and what decisions of removed rollouts rest on is kept."""

from sqlalchemy import Column, Integer, String, Text

from clinical_assets.foundation.migrations.steps import body, chained_table, table

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    chained_table(
        "removals",
        Column("chain", String(64), nullable=False),
        Column("rows", Integer, nullable=False),
        Column("at_utc", String(32), nullable=False),
        *body(),
    )
    table(
        "evidence_archive",
        Column("rollout_id", String(96), primary_key=True),
        Column("state_sha256", String(64), primary_key=True),
        Column("state", Text, nullable=False),
    )
