"""Which models must be loaded: the champion and the challenger of an open rollout, and nothing else."""

from __future__ import annotations

from clinical_assets.rollout.champion import champion_of
from clinical_assets.rollout.ledger import Ledger
from clinical_assets.serving.desired import DesiredState


def reconcile(ledger: Ledger, desired: DesiredState, cancer: str) -> None:
    """Make the desired serving state of `cancer` follow the ledger. Idempotent; never unloads a routed model."""
    champion = champion_of(ledger, cancer)
    rollout = ledger.rollout(cancer)
    wanted = [digest for digest in (champion, rollout.challenger if rollout else "") if digest]
    for digest in desired.read().get(cancer, {}).values():
        if digest and digest not in wanted:
            desired.retire(cancer, digest)
    for digest in wanted:
        desired.place(cancer, digest, keep=champion or None)
