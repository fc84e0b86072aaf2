"""A person's signature under a rollout: named, dated, with role and meaning, good for one model only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from resources.data_plane import TrafficRouter
from resources.ledger_store import LedgerStore

if TYPE_CHECKING:
    from clinical_assets.audit.statement_store import SignedStatement


class NothingToApprove(ValueError):
    """No rollout of this cancer type is open."""


def approve(
    ledger_store: LedgerStore, traffic_router: TrafficRouter, cancer: str, name: str, role: str, days: float = 30.0
) -> SignedStatement:
    """Sign the open rollout of `cancer` with the key of `name`, which is made on first use.

    Raises:
        NothingToApprove: no rollout is open.
        StatementRefused, KeyPermissionError: the key does not belong to that person, or is not private.
    """
    from clinical_assets.audit.statements import Approval, lasting

    rollout = ledger_store.ledger().rollout(cancer)
    if rollout is None:
        raise NothingToApprove(f"{cancer}: no rollout is open; see `clinical status`")
    term = lasting(time.time(), days)
    approval = Approval(
        cancer=cancer,
        model_digest=rollout.challenger,
        name=name,
        role=role,
        environment=traffic_router.approval_environment,
        rollout_id=rollout.id,
        issued_utc=term["issued_utc"],
        expires_utc=term["expires_utc"],
    )
    return ledger_store.records().statements.sign(approval, ledger_store.signer.key_store().signer(name))
