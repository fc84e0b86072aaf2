"""Which models must be loaded: champion and challenger of an open rollout, the fallback when both fail; no others."""

from __future__ import annotations

from typing import Protocol

from clinical_assets.rollout import stages
from clinical_assets.rollout.champion import champion_of
from clinical_assets.rollout.entries import Rollout
from clinical_assets.rollout.ledger import Ledger


class ServingBackend(Protocol):
    """Records which models should be loaded; something else (supervisor, cluster) makes it so.

    Every method is idempotent. A model that is placed is not yet routed.
    """

    def placed(self, cancer: str) -> list[str]:
        """Digests of the models that should be loaded."""
        ...

    def place(self, cancer: str, digest: str, keep: str | None = None) -> object:
        """Load `digest` beside `keep`, the champion that goes on answering."""
        ...

    def retire(self, cancer: str, digest: str) -> None:
        """Unload `digest` once nothing is routed to it; without effect if it is not loaded."""
        ...

    def finish_retiring(self) -> None:
        """Take away, for all cancer types, what has been drained since it was retired."""
        ...


def reconcile(ledger: Ledger, desired: ServingBackend, cancer: str) -> None:
    """Make the desired serving state of `cancer` follow the ledger. Idempotent; never unloads a routed model."""
    champion = champion_of(ledger, cancer)
    rollout = ledger.rollout(cancer)
    beside = "" if rollout is None else _beside_the_champion(ledger, rollout)
    wanted = [digest for digest in (champion, beside) if digest]
    for digest in desired.placed(cancer):
        if digest not in wanted:
            desired.retire(cancer, digest)
    for digest in wanted:
        desired.place(cancer, digest, keep=champion or None)


def _beside_the_champion(ledger: Ledger, rollout: Rollout) -> str:
    if ledger.progress(rollout.id).stage not in stages.EMERGENCY:
        return rollout.challenger
    return "" if rollout.policy["policy"].get("both_bad") == "refuse" else rollout.policy.get("previous", "")
