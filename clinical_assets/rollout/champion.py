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


def previous_of(ledger: Ledger, cancer: str, champion: str) -> str:
    """Digest of the model that `champion` replaced, "" if it was the first or is not known."""
    for progress in reversed(ledger.standings(cancer=cancer)):
        if progress.stage == stages.DONE and progress.rollout.challenger == champion:
            return progress.rollout.champion
    return ""


def aliases_of(ledger: Ledger, cancer: str) -> dict[str, str]:
    """Digests of champion and challenger, as a model registry shows them; "" where there is none."""
    running = ledger.rollout(cancer)
    return {"champion": champion_of(ledger, cancer), "challenger": running.challenger if running else ""}
