"""What may be waived: a check that could not tell, in the verdict on the model that stands now, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clinical_assets.gates.verdict import Verdict
from clinical_assets.gates.verdicts import SIMULATED
from clinical_assets.standing_model import standing_model

if TYPE_CHECKING:
    from resources.ledger_store import LedgerStore


class NotWaivable(ValueError):
    """No verdict exists, or the check did not answer INCONCLUSIVE."""


def require_waivable(cancer: str, check_id: str, ledger_store: LedgerStore) -> str:
    """Digest of the standing model, if the latest verdict on it has `check_id` as INCONCLUSIVE.

    Raises:
        NotWaivable: says what the check answered, or which checks could be waived.
    """
    digest = standing_model(cancer).digest
    signed = ledger_store.records().find(digest)
    if signed is None:
        raise NotWaivable(f"{cancer}: model {digest[:12]} has no verdict yet; run `clinical backfill {cancer}`")
    checks = {check.id: check for report in signed.record.reports.values() for check in report.checks}
    open_questions = [
        id for id, check in checks.items() if check.verdict is Verdict.INCONCLUSIVE and id not in SIMULATED
    ]
    if check_id in open_questions:
        return digest
    could = f"inconclusive are {', '.join(open_questions)}" if open_questions else "no check of it is inconclusive"
    if check_id not in checks:
        raise NotWaivable(f"{cancer}: the verdict has no check {check_id}; {could}")
    raise NotWaivable(
        f"{cancer}: {check_id} answered {checks[check_id].verdict}; only INCONCLUSIVE can be waived, simulated data "
        f"never ({could})"
    )
