"""Which model may act, by signed verdict, proven evidence and signed approval. Every route write asks here.

This module is the one place of the two rules by which a verdict of `shadow` becomes enough for traffic. Where the gates
could not show non-inferiority on a small test set (MP9, MP10 inconclusive), a non-inferiority proof from the mirrored
patients of this very model stands in for those two checks. And in an environment that is named a rehearsal, where no
patient is treated, a model of simulated data (RG21 inconclusive) may go all the way. Nothing else is lifted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import func, select

from clinical_assets.audit.chain import snapshot
from clinical_assets.audit.record_table import records
from clinical_assets.audit.records import RecordStore, Refused, SignedRecord
from clinical_assets.audit.revocations import Kind
from clinical_assets.audit.statement_store import statements
from clinical_assets.gates.facts import utc_seconds
from clinical_assets.gates.verdict import Scope
from clinical_assets.gates.verdicts import NON_INFERIORITY, SIMULATED, limits
from clinical_assets.rollout.entries import Rollout
from clinical_assets.rollout.evidence_log import EvidenceLog
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.rollout.plan import RolloutPlan
from clinical_assets.rollout.promotion import proof
from clinical_assets.rollout.routing import Authority

REHEARSAL = "rehearsal"
"""The name of an environment (`$CLINICAL_ENVIRONMENT`) in which no answer reaches a patient's care."""


class RolloutAuthority(Authority, Protocol):
    """Verdicts and approvals. All times are wall time in seconds: a replayed clinical clock ages no signature."""

    def approver(self, rollout: Rollout, now: float) -> str:
        """Name of the person whose approval of this rollout stands, or an error that says why none does."""
        ...


class EvidenceAuthority:
    """The records, completed by non-inferiority proven in shadow; in a rehearsal, simulated data are enough."""

    def __init__(self, records: RecordStore, ledger: Ledger, environment: str) -> None:
        self.records = records
        self.ledger = ledger
        self.environment = environment

    def require(self, model_digest: str, cancer: str, needed: Scope, now: float) -> SignedRecord:
        """Raises Refused unless the verdict, or the verdict with what completes it, grants `needed`."""
        try:
            return self.records.require(model_digest, cancer, needed, now)
        except Refused:
            if needed is not Scope.TRAFFIC:
                raise
            signed = self.records.require(model_digest, cancer, Scope.SHADOW, now)
            lacking = self._inconclusive(signed, cancer, now)
            if not lacking or lacking - NON_INFERIORITY - SIMULATED:
                raise
            if lacking & SIMULATED and self.environment != REHEARSAL:
                raise
            if lacking & NON_INFERIORITY and not self._proven_in_shadow(model_digest, cancer):
                raise
            return signed

    def approver(self, rollout: Rollout, now: float) -> str:
        """Raises StatementRefused when no approval stands."""
        signed = self.records.statements.require_approval(
            rollout.cancer, rollout.challenger, rollout.id, self.environment, rollout.author, now
        )
        return signed.statement.signed_by

    def marks(self, cancers: Sequence[str]) -> dict[str, object]:
        """See `rest.WatchedAuthority`. A withdrawal or a key concerns every cancer type."""
        kinds = [str(kind) for kind in Kind]
        with snapshot(self.records.engine) as connection:
            latest = [
                dict(connection.execute(select(table.c.cancer, func.max(table.c.seq)).group_by(table.c.cancer)).all())
                for table in (records, statements)
            ]
            withdrawn = connection.execute(select(func.max(records.c.seq)).where(records.c.kind.in_(kinds))).scalar()
        files = sorted(self.records.keys.directory.glob("*.pub"))
        keys = tuple((path.name, path.stat().st_mtime_ns) for path in files)
        return {cancer: (*(seqs.get(cancer) for seqs in latest), withdrawn, keys) for cancer in cancers}

    def stands_until(self, rollout: Rollout, now: float) -> float:
        """See `rest.WatchedAuthority`: when the next record, waiver or approval begins or expires."""
        signed = self.records.find(rollout.challenger)
        dated = [signed.record] if signed else []
        dated += [found.statement for found in self.records.statements.statements(rollout.challenger)]
        moments = (utc_seconds(at) for each in dated for at in (each.issued_utc, each.expires_utc))
        return min((moment for moment in moments if moment > now), default=math.inf)

    def _inconclusive(self, signed: SignedRecord, cancer: str, now: float) -> set[str]:
        """The checks for want of which the verdict does not grant traffic."""
        record = signed.record
        waivers = self.records.statements.waivers(cancer, record.model_digest, now)
        return {limit.check_id for limit in limits(record.reports, record.tier, waivers, now)}

    def _proven_in_shadow(self, model_digest: str, cancer: str) -> bool:
        log = EvidenceLog(self.ledger.engine)
        for rollout in self.ledger.rollouts():
            if (rollout.cancer, rollout.challenger) == (cancer, model_digest):
                plan = RolloutPlan.model_validate(rollout.policy)
                if proof(log.current(rollout.id, plan), plan).proven:
                    return True
        return False
