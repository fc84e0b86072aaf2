"""The ledger of looks: each opening of a locked test split, with the policy that was fixed before it.

The entry is committed before the first prediction on the split is made. A process killed between the two leaves an
entry without predictions; the run that takes over finds the entry and adds none, since scoring the same model under the
same policy again tells nothing new. So no look is lost, and none counts twice.
"""

from __future__ import annotations

from clinical_assets.audit.log import AuditEntry, AuditLog
from clinical_assets.foundation.clock import utc_iso
from clinical_assets.gates.facts import PolicyLock, TestLook
from clinical_assets.gates.policy import GatePolicy

OPEN_TEST_SPLIT = "open_test_split"


class TestSplitOpenings:
    """Openings are entries of the audit log; their subject is the model that is scored."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(self, log: AuditLog) -> None:
        self.log = log

    def open(
        self, *, actor: str, cancer: str, model_digest: str, split_digest: str, policy: GatePolicy, now: float
    ) -> bool:
        """Put the opening on record, before it happens; False when the same one is on record already.

        Args:
            now: wall clock, seconds since the epoch.
        """
        payload = {
            "cancer": cancer,
            "policy_digest": policy.digest,
            "split_digest": split_digest,
            "policy": policy.content,
            "reason": "the test split is opened for this model under this policy",
        }
        return self.log.append_once(actor, OPEN_TEST_SPLIT, model_digest, payload, utc_iso(now))

    def looks(self, split_digest: str) -> tuple[TestLook, ...]:
        """Every opening of one split, oldest first: one per model and policy."""
        first: dict[tuple[str, str], TestLook] = {}
        for entry in self.log.entries(action=OPEN_TEST_SPLIT):
            if entry.payload.get("split_digest") == split_digest:
                look = _look(entry)
                first.setdefault((look.model_digest, look.policy_digest), look)
        return tuple(first.values())

    def lock(self, model_digest: str, split_digest: str) -> PolicyLock | None:
        """The policy under which a model first saw a split; None when it never did."""
        for entry in self.log.entries(model_digest, OPEN_TEST_SPLIT):
            if entry.payload.get("split_digest") == split_digest:
                return PolicyLock(entry.payload["policy_digest"], entry.payload.get("policy"), entry.at_utc)
        return None


def _look(entry: AuditEntry) -> TestLook:
    return TestLook(entry.payload["split_digest"], entry.subject, entry.payload["policy_digest"], entry.at_utc)
