"""What is on record about a model before it is judged: looks, the policy fixed, re-trainings, the approved baseline."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from clinical_assets.audit.openings import TestSplitOpenings
from clinical_assets.audit.reproductions import latest_reproduction
from clinical_assets.audit.trail import gaps
from clinical_assets.foundation.objects.errors import ObjectDamaged, ObjectMissing
from clinical_assets.gates.facts import AuditState, Baseline, BundleState, PolicyLock, Reproduction, TestLook
from resources.ledger_store import LedgerStore
from resources.object_store import ObjectStore

if TYPE_CHECKING:
    from clinical_assets.audit.records import RecordStore
    from clinical_assets.catalog import CancerType
    from clinical_assets.references import ModelReference


class ReleaseHistory:
    """Reads the audit log, the statements and the records of one model."""

    def __init__(self, cancer: CancerType, model: ModelReference, ledger_store: LedgerStore, now: float) -> None:
        self.cancer = cancer
        self.model = model
        self.now = now
        self._ledger_store = ledger_store
        self._log = ledger_store.audit_log()
        self._records: RecordStore = ledger_store.records()
        self._openings = TestSplitOpenings(self._log)

    def audit(self) -> AuditState:
        chain = self._log.verify_chain()
        return AuditState(chain.ok, chain.entries, chain.problem, gaps(self._ledger_store.engine()))

    def looks(self) -> tuple[TestLook, ...]:
        return self._openings.looks(self.model.features.split_digest)

    def policy_lock(self) -> PolicyLock | None:
        """The policy fixed before the test split was opened, or what a person made of it since."""
        lock = self._openings.lock(self.model.digest, self.model.features.split_digest)
        if lock is None:
            return None
        for amendment in self._records.statements.amendments(self.cancer.slug, self.model.digest, self.now):
            if amendment.old_digest == lock.digest:
                lock = PolicyLock(
                    amendment.new_digest, amendment.policy, lock.locked_utc, amendment.signer, amendment.reason
                )
        return lock

    def first_verdict(self) -> str | None:
        return self._records.first_issued(self.model.digest)

    def reproduction(self) -> Reproduction | None:
        return latest_reproduction(self._log, self.model.digest)

    def baseline(self, object_store: ObjectStore) -> Baseline | None:
        """The first or last other model of this cancer type that a person approved; see `ChangePlan.baseline`."""
        from clinical_assets.trials.snapshot import SnapshotStore

        approved = [
            signed.statement
            for signed in self._records.statements.approved(self.cancer.slug)
            if signed.statement.model_digest != self.model.digest
        ]
        if not approved:
            return None
        approval = approved[0 if self.cancer.change_plan.baseline == "first" else -1]
        card, manifest = {}, {}
        with suppress(ObjectMissing):
            card = json.loads((object_store.model(approval.model_digest) / "model.json").read_text())
            origin = card.get("provenance", {}).get("snapshot")
            snapshot = SnapshotStore(object_store.objects()).find(self.cancer.slug, origin) if origin else None
            manifest = snapshot.manifest.model_dump(mode="json") if snapshot else {}
        record = self._records.find(approval.model_digest)
        return Baseline(
            approval.model_digest,
            approval.signed_by,
            approval.issued_utc,
            card,
            manifest,
            record.record.lineage if record else {},
        )

    def bundle(self, object_store: ObjectStore) -> BundleState | None:
        """The latest bundle of this model, verified offline. Lapse and withdrawal are no faults of a copy."""
        from clinical_assets.evidence.verification import verify
        from clinical_assets.evidence_bundle import latest_evidence

        try:
            latest = latest_evidence(self.cancer.slug, self.model.digest, object_store)
        except (ObjectDamaged, ObjectMissing) as damage:
            return BundleState("", (), (), faults=(str(damage),))
        if latest is None:
            return None
        files = [path for path in sorted(latest.folder.rglob("*")) if path.is_file()]
        faults = {step.title: step.faults for step in verify(latest.folder, None, self.now).steps}
        del faults["in force"]
        return BundleState(
            digest=latest.reference.digest,
            readable=tuple(path.name for path in files if path.suffix in (".html", ".txt", ".md")),
            electronic=tuple(path.name for path in files if path.suffix in (".json", ".xml")),
            small_cells=faults.pop("small counts hidden"),
            faults=tuple(fault for found in faults.values() for fault in found),
        )
