"""Which model answers patients, as the ledger has it: derived from the rollouts' histories, stored nowhere else."""

from __future__ import annotations

from clinical_assets.rollout import stages
from clinical_assets.rollout.ledger import Ledger


def champion_of(ledger: Ledger, cancer: str) -> str:
    """Digest of the model that won the latest completed rollout, "" if none was ever deployed.

    During an open rollout, its watch included, the champion is still the model to which a rollback leads.
    """
    standings = ledger.standings(cancer=cancer)
    if not standings:
        return ""
    last = standings[-1]
    return last.rollout.challenger if last.stage == stages.DONE else last.rollout.champion
