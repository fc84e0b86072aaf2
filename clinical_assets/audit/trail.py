"""Completeness of the audit trail: everything on file has its entry, and every entry says who, what, when and why."""

from __future__ import annotations

import json
from collections import Counter

from sqlalchemy import Engine, select

from clinical_assets.audit.chain import snapshot
from clinical_assets.audit.log import audit_log
from clinical_assets.audit.record_table import records
from clinical_assets.audit.revocations import Kind
from clinical_assets.audit.statement_store import statements
from clinical_assets.gates.facts import utc_seconds

NEED_REASON = ("revoke_", "sign_")
"""Actions of persons, which say why."""


def gaps(engine: Engine) -> tuple[str, ...]:
    """What the trail lacks, in words: rows without entry, entries without row, entries without who, when or why."""
    with snapshot(engine) as connection:
        logged = connection.execute(
            select(
                audit_log.c.seq, audit_log.c.at_utc, audit_log.c.actor, audit_log.c.action, audit_log.c.subject,
                audit_log.c.body,
            )
        ).all()  # fmt: skip
        kept: Counter[tuple[str, str]] = Counter()
        for kind, subject in connection.execute(select(records.c.kind, records.c.model_digest)):
            kept[_action(kind), subject] += 1
        for kind, subject in connection.execute(select(statements.c.kind, statements.c.model_digest)):
            kept[f"sign_{kind}", subject] += 1
    actions = {action for action, _ in kept} | {_action(kind) for kind in ("decision", *map(str, Kind))}
    seen = Counter(
        (row.action, row.subject) for row in logged if row.action in actions or row.action.startswith("sign_")
    )
    found = [
        f"{count} {action} of {subject[:12]} not in the trail" for (action, subject), count in (kept - seen).items()
    ]
    found += [
        f"{count} {action} of {subject[:12]} only in the trail" for (action, subject), count in (seen - kept).items()
    ]
    for row in logged:
        lacking = ["who"] * (not row.actor.strip()) + ["what"] * (not row.action.strip() or not row.subject.strip())
        lacking += ["when"] * (not _is_moment(row.at_utc))
        if row.action.startswith(NEED_REASON) and not json.loads(row.body).get("reason"):
            lacking.append("why")
        if lacking:
            found.append(f"entry {row.seq} does not say {' and '.join(lacking)}")
    return tuple(found)


def _action(kind: str) -> str:
    return "issue_decision_record" if kind == "decision" else f"revoke_{Kind(kind).name.lower()}"


def _is_moment(text: str) -> bool:
    try:
        utc_seconds(text)
    except ValueError:
        return False
    return True
